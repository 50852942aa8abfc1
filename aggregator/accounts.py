"""A stored range to its books: rows of `completeness` (one per batch) and of `ingest_log` (one per range)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa

from aggregator.fold import WINDOW_NS, end_times, to_windows

if TYPE_CHECKING:
    import numpy.typing as npt

    from aggregator.decode import Decoded

PUBLISH_DELAY_NS: Final = 5 * 10**9
"""A window is published so long after its end; what comes later is late, and makes a new revision."""

_TIME: Final = pa.timestamp("ns", tz="UTC")
_COUNTERS: Final = pa.map_(pa.string(), pa.uint64())
_FROM_HEADER: Final = (
    ("counting_since", "counting_since_ns", _TIME),
    ("exported_until", "exported_until_ns", _TIME),
    ("created", "created_ns", _TIME),
    ("held_packets", "held_packets", pa.uint64()),
    ("held_bytes", "held_bytes", pa.uint64()),
    ("closed", "closed", pa.uint8()),
)
_FROM_LINK: Final = ("first", "next", "gap", "repeated")


class Place(NamedTuple):
    """A partition in one life of its topic."""

    topic: str
    topic_id: str
    partition: int


class Span(NamedTuple):
    """A range of offsets, both included."""

    first: int
    last: int


def completeness_rows(place: Place, decoded: Decoded, *, unresolved: npt.NDArray[np.bool_], now_ns: int) -> pa.Table:
    """One row per readable batch. `unresolved`: per record, whether an address of the cluster had no holder."""
    headers = [link.header for link in decoded.links]
    is_late = (end_times(decoded.records) // WINDOW_NS + 1) * WINDOW_NS + PUBLISH_DELAY_NS < now_ns
    columns = {name: pa.array([getattr(link, name) for link in decoded.links], pa.uint64()) for name in _FROM_LINK}
    for name, attribute, kind in _FROM_HEADER:
        columns[name] = pa.array([int(getattr(header, attribute)) for header in headers], pa.int64()).cast(kind)
    for name, flags in (("late", is_late), ("unresolved", unresolved)):
        counts = np.bincount(decoded.link_of_record[flags], minlength=len(headers))
        columns[name] = pa.array(counts.astype("u8"))
    columns |= _constants(place, len(headers))
    columns["node"] = pa.array([header.node for header in headers], pa.string())
    columns["ring_id"] = pa.array([header.ring_id for header in headers], pa.string())
    columns["counters"] = pa.array([list(header.counters.items()) for header in headers], _COUNTERS)
    return pa.table(columns)


def log_row(place: Place, span: Span, *, decoded: Decoded) -> pa.Table:
    """The one row of this range in `ingest_log`."""
    windows = np.unique(to_windows(end_times(decoded.records)))
    counts = {
        "messages": len(decoded.links) + len(decoded.unreadable),
        "records": decoded.records.num_rows,
        "unreadable": len(decoded.unreadable),
    }
    columns = _constants(place, 1)
    columns |= {name: pa.array([value], pa.int64()) for name, value in span._asdict().items()}
    columns |= {name: pa.array([value], pa.uint64()) for name, value in counts.items()}
    columns["windows"] = pa.ListArray.from_arrays(pa.array([0, len(windows)], pa.int32()), pa.array(windows))
    return pa.table(columns)


def _constants(place: Place, rows: int) -> dict[str, pa.Array]:
    return {
        "topic": pa.array([place.topic] * rows, pa.string()),
        "topic_id": pa.array([place.topic_id] * rows, pa.string()),
        "partition": pa.array([place.partition] * rows, pa.int32()),
    }
