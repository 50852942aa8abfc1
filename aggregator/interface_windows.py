"""Hook totals in batch headers to rows of `window_interfaces` and `window_sizes`.

The totals are cumulative since the ring was made and stand for the window in which they were read; the table keeps the
largest of a window, so repetition and order do no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from aggregator.fold import to_windows
from schemas.interface_totals import OUTCOMES, PROTOCOL_CLASSES, SIZE_BUCKETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aggregator.decode import Link

WHERE: Final = ("window", "node", "ring_id", "interface", "ifindex", "flow_direction")
INTERFACE_KEYS: Final = (*WHERE, "interface_kind", "hook")
COUNTERS: Final = tuple(f"{outcome}_{unit}" for outcome in OUTCOMES for unit in ("frames", "packets", "bytes"))
_CELLS: Final = len(PROTOCOL_CLASSES) * SIZE_BUCKETS


def fold_totals(links: Sequence[Link]) -> dict[str, pa.Table]:
    """Rows for `window_interfaces` and `window_sizes`; none where no header carries totals."""
    spoken = [link for link in links if link.totals.num_rows]
    if not spoken:
        return {}
    totals = pa.Table.from_batches([link.totals for link in spoken])
    lengths = [link.totals.num_rows for link in spoken]
    created = np.array([link.header.created_ns for link in spoken], "i8")
    totals = totals.append_column("window", pa.array(np.repeat(to_windows(created), lengths)))
    for name, values in (
        ("node", [link.header.node for link in spoken]),
        ("ring_id", [link.header.ring_id for link in spoken]),
    ):
        totals = totals.append_column(name, pa.array(np.repeat(np.array(values, object), lengths), pa.string()))
    interfaces = _largest(totals.select([*INTERFACE_KEYS, *COUNTERS]), INTERFACE_KEYS)
    return {"window_interfaces": interfaces, "window_sizes": _sizes(totals)}


def _sizes(totals: pa.Table) -> pa.Table:
    """One row per protocol class and bucket that has seen a packet."""
    packets = totals.column("size_packets").combine_chunks().flatten().to_numpy()
    cells = np.flatnonzero(packets)
    row, cell = np.divmod(cells, _CELLS)
    limits = np.array([64 << bucket for bucket in range(SIZE_BUCKETS - 1)] + [0], "u4")
    classes = pa.DictionaryArray.from_arrays(pa.array((cell // SIZE_BUCKETS).astype("i4")), pa.array(PROTOCOL_CLASSES))
    sizes = (
        totals.select(WHERE)
        .take(pa.array(row))
        .append_column("protocol_class", classes.cast(pa.string()))
        .append_column("bucket_bytes", pa.array(limits[cell % SIZE_BUCKETS]))
        .append_column("packets_total", pa.array(packets[cells]))
    )
    return _largest(sizes, (*WHERE, "protocol_class", "bucket_bytes"))


def _largest(rows: pa.Table, keys: tuple[str, ...]) -> pa.Table:
    """One row per combination of keys with the largest of each other column."""
    counters = [name for name in rows.column_names if name not in keys]
    largest = rows.group_by(list(keys), use_threads=False).aggregate([(name, "max") for name in counters])
    return largest.rename_columns({f"{name}_max": name for name in counters})
