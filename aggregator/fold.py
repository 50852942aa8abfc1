"""Identified records to partial window rows: sums, extremes and histograms per edge, which ClickHouse adds up.

What one fold gives is a part of a window, never its total: any number of workers, ranges and late comers add to the
same rows. A record belongs to the window of its `time_end`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from aggregator.grouping import Groups, group, sums
from aggregator.histogram import histograms
from aggregator.identity.reporter import REPORTERS
from schemas.windows import EPHEMERAL_PORT, LATENCIES, WINDOW_SECONDS

if TYPE_CHECKING:
    import numpy.typing as npt

    from aggregator.identity.identify import Identified, Origins
    from aggregator.identity.leases import Leases

WINDOW_NS: Final = WINDOW_SECONDS * 10**9
SRC: Final = ("namespace", "workload", "workload_kind")
DST: Final = ("namespace", "workload", "workload_kind", "service")
PROTOCOL_SUMS: Final = (
    "packets",
    "bytes",
    "reverse_packets",
    "reverse_bytes",
    "connections_opened",
    "connections_closed",
    "connections_refused",
    "connections_no_answer",
    "retransmits",
    "reverse_retransmits",
    "resets",
    "reverse_resets",
)
HANDSHAKE, *ROUND_TRIPS = LATENCIES
NOT_MEASURED: Final = np.iinfo("u8").max
"""The minimum of no measurements: ClickHouse keeps the smallest."""

Columns = dict[str, pa.Array]


@dataclass(frozen=True, slots=True)
class Latency:
    """The measurements of one kind in the records that hold any, and the group of each record."""

    kind: str
    number: npt.NDArray[np.int32]
    count: npt.NDArray[np.uint32]
    sum_ns: npt.NDArray[np.uint64]
    min_ns: npt.NDArray[np.uint64]
    max_ns: npt.NDArray[np.uint64]
    samples: npt.NDArray[np.uint64]


def to_windows(time_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """The start of each time's window in Unix seconds."""
    return (time_ns // WINDOW_NS * WINDOW_SECONDS).astype("u4")


def end_times(records: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """`time_end` in Unix nanoseconds."""
    ends: npt.NDArray[np.int64] = records.column("time_end").to_numpy(zero_copy_only=False).view("i8")
    return ends


def fold_flows(records: pa.RecordBatch, identified: Identified, *, leases: Leases) -> dict[str, pa.Table]:
    """Rows for `window_protocols` and `window_latency`; none where there are no records."""
    if not records.num_rows:
        return {}
    window = to_windows(end_times(records))
    protocol = records.column("protocol").to_numpy()
    port = records.column("dst_port").to_numpy()
    port = np.where(port < EPHEMERAL_PORT, port, np.uint16(0))
    src, dst = leases.group(SRC), leases.group(DST)
    groups = group(
        (
            (window - window.min()) // np.uint32(WINDOW_SECONDS),
            src.codes[identified.src],
            dst.codes[identified.dst],
            protocol,
            port,
            identified.reporter,
            identified.authoritative,
        )
    )
    first = groups.first
    keys: Columns = {"window": pa.array(window[first])}
    keys |= _end("src", SRC, rows=identified.src[first], leases=leases)
    keys |= _end("dst", DST, rows=identified.dst[first], leases=leases)
    keys["protocol"] = pa.array(protocol[first])
    keys["dst_port"] = pa.array(port[first])
    keys["reporter"] = pa.DictionaryArray.from_arrays(pa.array(identified.reporter[first].astype("i4")), REPORTERS)
    keys["authoritative"] = pa.array(identified.authoritative[first])
    tables = {"window_protocols": _protocols(records, groups, keys=keys)}
    parts = _latencies(records, groups)
    if any(part.number.size for part in parts):
        tables["window_latency"] = _latency_rows(parts, groups, keys=keys)
    return tables


def fold_drops(
    records: pa.RecordBatch, identified: Identified, *, leases: Leases, origins: Origins
) -> dict[str, pa.Table]:
    """Rows for `window_drops`; none where there are no records."""
    if not records.num_rows:
        return {}
    window = to_windows(end_times(records))
    plain = {name: records.column(name).to_numpy() for name in ("benign", "protocol")}
    named = {name: records.column(name) for name in ("reason", "call_site")}
    ends = leases.group(SRC)
    groups = group(
        (
            (window - window.min()) // np.uint32(WINDOW_SECONDS),
            origins.codes,
            *(column.indices.to_numpy() for column in named.values()),
            *plain.values(),
            ends.codes[identified.src],
            ends.codes[identified.dst],
        )
    )
    first = groups.first
    columns: Columns = {
        "window": pa.array(window[first]),
        "node": pa.DictionaryArray.from_arrays(pa.array(origins.codes[first]), origins.nodes),
    }
    columns |= {name: column.take(pa.array(first)) for name, column in named.items()}
    columns |= {name: pa.array(values[first]) for name, values in plain.items()}
    columns |= _end("src", SRC, rows=identified.src[first], leases=leases)
    columns |= _end("dst", SRC, rows=identified.dst[first], leases=leases)
    columns |= {name: pa.array(sums(records.column(name).to_numpy(), groups)) for name in ("packets", "bytes")}
    return {"window_drops": pa.table(columns)}


def _end(side: str, attributes: tuple[str, ...], *, rows: npt.NDArray[np.int32], leases: Leases) -> Columns:
    return {f"{side}_{attribute}": leases.names(attribute, rows) for attribute in attributes}


def _protocols(records: pa.RecordBatch, groups: Groups, *, keys: Columns) -> pa.Table:
    flows = np.bincount(groups.number, minlength=len(groups.first)).astype("u8")
    totals = {name: pa.array(sums(records.column(name).to_numpy(), groups)) for name in PROTOCOL_SUMS}
    return pa.table({**keys, "flows": pa.array(flows), **totals})


def _latencies(records: pa.RecordBatch, groups: Groups) -> list[Latency]:
    return [_handshakes(records, groups), *(_round_trips(records, groups, name=name) for name in ROUND_TRIPS)]


def _handshakes(records: pa.RecordBatch, groups: Groups) -> Latency:
    """SYN to ACK, of records that saw both halves: a record holds one handshake at most."""
    halves = [records.column(name).to_numpy() for name in ("handshake_syn_ack_ns", "handshake_ack_ns")]
    rows = np.flatnonzero((halves[0] > 0) & (halves[1] > 0))
    whole = halves[0][rows].astype("u8") + halves[1][rows]
    once = np.ones(len(rows), "u4")
    return Latency(HANDSHAKE, groups.number[rows], once, whole, whole, whole, whole[:, None])


def _round_trips(records: pa.RecordBatch, groups: Groups, *, name: str) -> Latency:
    count = records.column(f"{name}_count").to_numpy()
    rows = np.flatnonzero(count)
    samples = records.column(f"{name}_samples").flatten().to_numpy().reshape(len(count), -1)[rows]
    total, low, high = (records.column(f"{name}_{what}_ns").to_numpy()[rows] for what in ("sum", "min", "max"))
    return Latency(name, groups.number[rows], count[rows], total, low, high, samples)


def _latency_rows(parts: list[Latency], groups: Groups, *, keys: Columns) -> pa.Table:
    """A row for each edge that was measured in some way."""
    is_measured = np.zeros(len(groups.first), bool)
    columns = dict(keys)
    for part in parts:
        is_measured[part.number] = True
        columns |= _latency_columns(part, Groups(part.number, groups.first))
    return pa.table(columns).filter(pa.array(is_measured))


def _latency_columns(part: Latency, groups: Groups) -> Columns:
    """One kind's part of the row of every edge."""
    count = len(groups.first)
    low, high = np.full(count, NOT_MEASURED, "u8"), np.zeros(count, "u8")
    np.minimum.at(low, groups.number, part.min_ns.astype("u8"))
    np.maximum.at(high, groups.number, part.max_ns.astype("u8"))
    return {
        f"{part.kind}_count": pa.array(sums(part.count, groups)),
        f"{part.kind}_sum_ns": pa.array(sums(part.sum_ns, groups)),
        f"{part.kind}_min_ns": pa.array(low),
        f"{part.kind}_max_ns": pa.array(high),
        f"{part.kind}_histogram": histograms(groups.number, part.count, samples=part.samples, groups=count),
    }
