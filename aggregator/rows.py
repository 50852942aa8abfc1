"""Identified records to rows of `flows` and `drops`: the record's own columns and the names of both ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from aggregator.identity.identify import ATTRIBUTIONS
from aggregator.identity.leases import ATTRIBUTES
from aggregator.identity.reporter import REPORTERS
from schemas.flow_batch import TIME

if TYPE_CHECKING:
    import numpy.typing as npt

    from aggregator.identity.identify import Identified, Origins
    from aggregator.identity.leases import Leases

NOT_STORED: Final = ("rtt_samples", "reverse_rtt_samples")
"""Their histograms are in `window_latency`."""


def flow_rows(
    records: pa.RecordBatch, identified: Identified, *, leases: Leases, origins: Origins, now_ns: int
) -> pa.Table:
    """Rows for the table `flows`.

    `now_ns`: the moment of identification.
    """
    columns = {name: records.column(name) for name in records.schema.names if name not in NOT_STORED}
    columns |= _names(identified, leases)
    columns["node"] = pa.DictionaryArray.from_arrays(pa.array(origins.codes), origins.nodes)
    columns["reporter"] = _words(identified.reporter, REPORTERS)
    columns["authoritative"] = pa.array(identified.authoritative)
    identified_at = np.full(records.num_rows, now_ns, "i8")
    return pa.table({**columns, "identified_at": pa.array(identified_at).view(TIME)})


def drop_rows(records: pa.RecordBatch, identified: Identified, *, leases: Leases, origins: Origins) -> pa.Table:
    """Rows for the table `drops`."""
    columns = {name: records.column(name) for name in records.schema.names}
    columns |= _names(identified, leases)
    columns["node"] = pa.DictionaryArray.from_arrays(pa.array(origins.codes), origins.nodes)
    return pa.table(columns)


def _names(identified: Identified, leases: Leases) -> dict[str, pa.Array]:
    ends = (("src", identified.src, identified.src_attribution), ("dst", identified.dst, identified.dst_attribution))
    columns: dict[str, pa.Array] = {}
    for side, rows, attribution in ends:
        columns |= {f"{side}_{attribute}": leases.names(attribute, rows) for attribute in ATTRIBUTES}
        columns[f"{side}_attribution"] = _words(attribution, ATTRIBUTIONS)
    return columns


def _words(codes: npt.NDArray[np.uint8], words: pa.StringArray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype("i4")), words)
