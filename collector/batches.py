"""Kernel records to Arrow columns: one vectorised step per column, nothing per record.

The arrays are what the ring gave: structured, one element a record, laid out as bpf/records.h. They are looked at under
the columns' names; a column is then a contiguous copy of one field, whose memory Arrow takes as it is. Work in Python
grows with the columns and with the different interfaces of a batch, never with its records.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from collector.drop_names import NamedDrops
from collector.records import DROP_RECORD, FLOW_RECORD
from collector.round_trips import to_quantiles
from schemas import drop_batch, flow_batch
from schemas.flow_batch import SAMPLES, TIME

Records = npt.NDArray[np.void]

_SHIFT_BITS: Final = np.uint32(11)
_MANTISSA: Final = np.uint32((1 << 11) - 1)
_HELD: Final = np.tri(SAMPLES + 1, SAMPLES, -1, np.uint16)
"""Row n: 1 for each of the first n places of a reservoir."""
_INDEX: Final = pa.int32()
_SMALL: Final = 1 << 16


def to_nanoseconds(samples: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint32]:
    """What 16-bit samples stand for, (x & 2047) << (x >> 11): the kernel side writes no more than fits 32 bits."""
    codes = samples.astype(np.uint32)
    return (codes & _MANTISSA) << (codes >> _SHIFT_BITS)


def to_flow_columns(records: Records, interfaces: Mapping[int, str], *, offset_ns: int) -> pa.RecordBatch:
    """Records as `flow_batch.SCHEMA`; `interfaces` names an ifindex, `offset_ns` makes kernel times Unix times."""
    wide = records.view(_FLOWS)
    columns = {name: _adopt(kind, wide[name]) for name, kind in _FLOW_PLAIN}
    columns["time_start"] = _adopt(TIME, wide["time_start"] + offset_ns)
    columns["time_end"] = _adopt(TIME, wide["time_end"] + offset_ns)
    columns["interface"] = _interfaces(wide["ifindex"], interfaces)
    columns["rtt_samples"] = _samples(records, 0)
    columns["reverse_rtt_samples"] = _samples(records, 1)
    return pa.RecordBatch.from_arrays([columns[name] for name in _FLOW_NAMES], schema=flow_batch.SCHEMA)


def to_drop_columns(
    records: Records, interfaces: Mapping[int, str], *, names: NamedDrops, offset_ns: int
) -> pa.RecordBatch:
    """Records as `drop_batch.SCHEMA`; an ifindex that `interfaces` does not name (a pod's own) stays without a name."""
    wide = records.view(_DROPS)
    columns = {name: _adopt(kind, wide[name]) for name, kind in _DROP_PLAIN}
    columns["time_start"] = _adopt(TIME, wide["time_start"] + offset_ns)
    columns["time_end"] = _adopt(TIME, wide["time_end"] + offset_ns)
    columns["interface"] = _interfaces(wide["ifindex"], interfaces)
    columns["reason"] = _dictionary(names.reason_index, names.reasons)
    columns["call_site"] = _dictionary(names.call_site_index, names.call_sites)
    columns["benign"] = to_numbers(names.benign)
    return pa.RecordBatch.from_arrays([columns[name] for name in drop_batch.SCHEMA.names], schema=drop_batch.SCHEMA)


def _adopt(kind: pa.DataType, values: npt.NDArray[np.generic]) -> pa.Array:
    """An Arrow array over a contiguous copy of `values`, without nulls."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def to_numbers(values: npt.NDArray[np.generic]) -> pa.Array:
    """An Arrow array of numbers."""
    return _adopt(pa.from_numpy_dtype(values.dtype), values)


def _dictionary(index: npt.NDArray[np.integer], names: list[str]) -> pa.Array:
    """Names by index."""
    places, dictionary = _to_dictionary(tuple(names))
    return pa.DictionaryArray.from_arrays(_adopt(_INDEX, places[index]), dictionary, safe=False)


@lru_cache(maxsize=64)
def _to_dictionary(names: tuple[str, ...]) -> tuple[npt.NDArray[np.int32], pa.Array]:
    """Each name once, or ClickHouse refuses the batch (code 117), and where each of `names` stands."""
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names], dtype=np.int32), to_strings(list(places))


def _interfaces(ifindexes: npt.NDArray[np.uint32], names: Mapping[int, str]) -> pa.Array:
    different, index = _distinct(np.ascontiguousarray(ifindexes))
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
        # Its method flatten would import pyarrow.compute: 4 MB.
        size = column.type.list_size
        return to_values(column.values.slice(column.offset * size, len(column) * size))
    values = np.frombuffer(column.buffers()[1], column.type.to_pandas_dtype())
    return values[column.offset : column.offset + len(column)]


def to_strings(texts: list[str]) -> pa.Array:
    """An Arrow array of texts. What pyarrow has for it imports pandas, where that is installed: 45 MB, a second."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))


def _samples(records: Records, place: int) -> pa.Array:
    """Round trips in nanoseconds; what stands behind the last sample is of an earlier record, and becomes 0."""
    codes, counts = records["rtt_samples"][:, place], records["rtt_count"][:, place]
    nanoseconds = to_nanoseconds(codes * _HELD.take(counts, axis=0, mode="clip"))
    many = np.flatnonzero(counts > SAMPLES)
    if len(many):
        nanoseconds[many] = to_quantiles(records[many], place)
    items = _adopt(_SAMPLE_LIST.value_type, nanoseconds.reshape(-1))
    return pa.Array.from_buffers(_SAMPLE_LIST, len(records), [None], children=[items])


def _under_names(record: np.dtype[np.void], fields: Mapping[str, tuple[str, int]]) -> np.dtype[np.void]:
    """A record's bytes under other names: name to field and place in it, 0 where it holds one value.

    Times become signed, as Arrow has them.
    """
    known: Mapping[str, Any] = record.fields or {}
    kinds, offsets = [], []
    for name, (field, place) in fields.items():
        kind = np.dtype("<i8") if name in _TIMES else record[field].base
        kinds.append(kind)
        offsets.append(known[field][1] + place * kind.itemsize)
    return np.dtype({"names": list(fields), "formats": kinds, "offsets": offsets, "itemsize": record.itemsize})


_TIMES: Final = {"time_start": ("time_start_ns", 0), "time_end": ("time_end_ns", 0)}
_SAMPLE_LIST: Final = flow_batch.SCHEMA.field("rtt_samples").type

_SAME: Final = (
    "src_addr",
    "dst_addr",
    "outer_src_addr",
    "outer_dst_addr",
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
_FLOW_FIELDS: Final = {
    **{name: (name, 0) for name in _SAME},
    **{name: (name, 0) for name in _BOTH_WAYS},
    **{f"reverse_{name}": (name, 1) for name in _BOTH_WAYS},
    "handshake_syn_ack_ns": ("handshake_ns", 0),
    "handshake_ack_ns": ("handshake_ns", 1),
}
_FLOWS: Final = _under_names(FLOW_RECORD, {**_FLOW_FIELDS, **_TIMES, "ifindex": ("ifindex", 0)})
_FLOW_NAMES: Final = flow_batch.SCHEMA.names
_FLOW_PLAIN: Final = [(name, flow_batch.SCHEMA.field(name).type) for name in _FLOW_FIELDS]

_DROP_FIELDS: Final = {
    **{name: (name, 0) for name in ("src_addr", "dst_addr", "src_port", "dst_port", "protocol", "ip_version")},
    **{name: (name, 0) for name in ("tcp_flags", "packets", "bytes")},
    "network_namespace": ("netns", 0),
}
_DROPS: Final = _under_names(DROP_RECORD, {**_DROP_FIELDS, **_TIMES, "ifindex": ("ifindex", 0)})
_DROP_PLAIN: Final = [(name, drop_batch.SCHEMA.field(name).type) for name in _DROP_FIELDS]
