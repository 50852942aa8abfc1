"""Kernel records to Arrow columns: one vectorised step per column, nothing per record.

The arrays are what the ring gave: structured, one element a record, laid out as bpf/records.h. A column is a contiguous
copy of one field; Arrow takes its memory as it is. Work in Python grows with the columns and with the different
interfaces of a batch, never with its records.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from collector.drop_names import NamedDrops
from collector.round_trips import to_quantiles
from schemas import drop_batch, flow_batch
from schemas.flow_batch import ADDRESS, SAMPLES, TIME

Records = npt.NDArray[np.void]

_SHIFT_BITS: Final = np.uint32(11)
_MANTISSA: Final = np.uint32((1 << 11) - 1)
_PLACES: Final = np.arange(SAMPLES, dtype=np.uint32)
_INDEX: Final = pa.int32()
_SMALL: Final = 1 << 16


def to_nanoseconds(samples: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint32]:
    """What 16-bit samples stand for, (x & 2047) << (x >> 11): the kernel side writes no more than fits 32 bits."""
    codes = samples.astype(np.uint32)
    return (codes & _MANTISSA) << (codes >> _SHIFT_BITS)


def to_flow_columns(records: Records, interfaces: Mapping[int, str], *, offset_ns: int) -> pa.RecordBatch:
    """Records as `flow_batch.SCHEMA`; `interfaces` names an ifindex, `offset_ns` makes kernel times Unix times."""
    columns = {name: take(records) for name, take in _FLOW_COLUMNS.items()}
    columns["time_start"] = _times(records["time_start_ns"], offset_ns)
    columns["time_end"] = _times(records["time_end_ns"], offset_ns)
    columns["interface"] = _interfaces(records["ifindex"], interfaces)
    return pa.RecordBatch.from_arrays([columns[field.name] for field in flow_batch.FIELDS], schema=flow_batch.SCHEMA)


def to_drop_columns(
    records: Records, interfaces: Mapping[int, str], *, names: NamedDrops, offset_ns: int
) -> pa.RecordBatch:
    """Records as `drop_batch.SCHEMA`; an ifindex that `interfaces` does not name (a pod's own) stays without a name."""
    columns = {name: take(records) for name, take in _DROP_COLUMNS.items()}
    columns["time_start"] = _times(records["time_start_ns"], offset_ns)
    columns["time_end"] = _times(records["time_end_ns"], offset_ns)
    columns["interface"] = _interfaces(records["ifindex"], interfaces)
    columns["reason"] = _dictionary(names.reason_index, names.reasons)
    columns["call_site"] = _dictionary(names.call_site_index, names.call_sites)
    columns["benign"] = to_numbers(names.benign)
    return pa.RecordBatch.from_arrays([columns[field.name] for field in drop_batch.FIELDS], schema=drop_batch.SCHEMA)


def _adopt(kind: pa.DataType, values: npt.NDArray[np.generic]) -> pa.Array:
    """An Arrow array over a contiguous copy of `values`, without nulls."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def to_numbers(values: npt.NDArray[np.generic]) -> pa.Array:
    """An Arrow array of numbers."""
    return _adopt(pa.from_numpy_dtype(values.dtype), values)


def _times(values: npt.NDArray[np.uint64], offset_ns: int) -> pa.Array:
    return _adopt(TIME, values.astype(np.int64) + offset_ns)


def _dictionary(index: npt.NDArray[np.integer], names: list[str]) -> pa.Array:
    """Names by index; each stands once in the dictionary, or ClickHouse refuses the batch (code 117)."""
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    unique = np.array([places[name] for name in names], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(_adopt(_INDEX, unique[index]), to_strings(list(places)))


def _interfaces(ifindexes: npt.NDArray[np.uint32], names: Mapping[int, str]) -> pa.Array:
    different, index = _distinct(ifindexes)
    return _dictionary(index, [names.get(ifindex, "") for ifindex in different.tolist()])


def _distinct(values: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
    """Different values and the place of each among them; without sorting as long as they are small."""
    largest = int(values.max(initial=0))
    if largest > _SMALL:
        return np.unique(values, return_inverse=True)
    places = np.zeros(largest + 1, np.int32)
    places[values] = 1
    different = np.flatnonzero(places)
    places[different] = np.arange(len(different), dtype=np.int32)
    return different, places[values]


def to_values(column: pa.Array) -> npt.NDArray[Any]:
    """A column of numbers, or of lists of numbers end to end, as numpy sees its memory: as `to_strings` has it."""
    if pa.types.is_fixed_size_list(column.type):
        return to_values(column.flatten())
    values = np.frombuffer(column.buffers()[1], column.type.to_pandas_dtype())
    return values[column.offset : column.offset + len(column)]


def to_strings(texts: list[str]) -> pa.Array:
    """An Arrow array of texts. What pyarrow has for it imports pandas, where that is installed: 45 MB, a second."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))


def _samples(records: Records, place: int) -> pa.Array:
    """Round trips in nanoseconds; what stands behind the last sample is of an earlier record, and becomes 0."""
    samples, counts = records["rtt_samples"][:, place], records["rtt_count"][:, place]
    nanoseconds = np.zeros(samples.shape, np.uint32)
    measured, many = np.flatnonzero(counts), np.flatnonzero(counts > SAMPLES)
    held = counts[measured, np.newaxis] > _PLACES
    nanoseconds[measured] = np.where(held, to_nanoseconds(samples[measured]), np.uint32(0))
    if len(many):
        nanoseconds[many] = to_quantiles(records[many], place)
    items = _adopt(pa.uint32(), nanoseconds.reshape(-1))
    return pa.Array.from_buffers(_SAMPLE_LIST, len(samples), [None], children=[items])


_SAMPLE_LIST: Final = flow_batch.SCHEMA.field("rtt_samples").type

_Take = Callable[[Records], pa.Array]


def _field(name: str) -> _Take:
    return lambda records: to_numbers(records[name])


def _element(name: str, place: int) -> _Take:
    return lambda records: to_numbers(records[name][:, place])


def _address(name: str) -> _Take:
    return lambda records: _adopt(ADDRESS, records[name])


def _reservoir(place: int) -> _Take:
    return lambda records: _samples(records, place)


_SAME: Final = (
    "src_port",
    "dst_port",
    "protocol",
    "ip_version",
    "interface_kind",
    "flow_direction",
    "biflow_direction",
    "local_socket",
    "flow_end_reason",
    "connections_opened",
    "connections_closed",
    "connections_refused",
    "connections_no_answer",
    "vni",
)
_BOTH_WAYS: Final = (
    "packets",
    "bytes",
    "packet_bytes_min",
    "packet_bytes_max",
    "tcp_flags",
    "retransmits",
    "resets",
    "rtt_count",
    "rtt_sum_ns",
    "rtt_min_ns",
    "rtt_max_ns",
)

_FLOW_COLUMNS: Final[dict[str, _Take]] = {
    **{name: _field(name) for name in _SAME},
    **{name: _element(name, 0) for name in _BOTH_WAYS},
    **{f"reverse_{name}": _element(name, 1) for name in _BOTH_WAYS},
    **{name: _address(name) for name in ("src_addr", "dst_addr", "outer_src_addr", "outer_dst_addr")},
    "handshake_syn_ack_ns": _element("handshake_ns", 0),
    "handshake_ack_ns": _element("handshake_ns", 1),
    "rtt_samples": _reservoir(0),
    "reverse_rtt_samples": _reservoir(1),
}
_DROP_COLUMNS: Final[dict[str, _Take]] = {
    **{name: _address(name) for name in ("src_addr", "dst_addr")},
    **{name: _field(name) for name in ("src_port", "dst_port", "protocol", "ip_version", "tcp_flags")},
    "network_namespace": _field("netns"),
    "packets": _field("packets"),
    "bytes": _field("bytes"),
}
