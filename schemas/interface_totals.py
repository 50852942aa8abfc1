"""Hook totals to Arrow columns: what each hook saw, cumulative since the ring was made.

It travels inside a batch's header and is the truth that records are checked against: per interface and direction,
seen = accounted + non_ip + malformed + lost, and accounted = records + held, exactly, whenever traffic rests.
Cumulative values are repeated and reordered without harm: the largest is the newest.
"""

from typing import Final

import pyarrow as pa

from schemas.batch import has_nulls

OUTCOMES: Final = ("accounted", "non_ip", "malformed", "lost")
PROTOCOL_CLASSES: Final = ("tcp", "udp", "icmp", "other")
SIZE_BUCKETS: Final = 12
"""Bucket b counts frames of at most 64 << b bytes and more than the bucket before; the last counts all larger ones."""


def _outcome_fields() -> list[pa.Field]:
    return [
        pa.field(f"{outcome}_{unit}", pa.uint64(), nullable=False)
        for outcome in OUTCOMES
        for unit in ("frames", "packets", "bytes")
    ]


def _list_of(length: int) -> pa.DataType:
    return pa.list_(pa.field("item", pa.uint64(), nullable=False), length)


SCHEMA: Final = pa.schema(
    [
        pa.field("interface", pa.string(), nullable=False),
        pa.field("ifindex", pa.uint32(), nullable=False),
        pa.field("interface_kind", pa.uint8(), nullable=False),
        pa.field("flow_direction", pa.uint8(), nullable=False),
        pa.field("hook", pa.string(), nullable=False),
        *_outcome_fields(),
        pa.field("size_packets", _list_of(len(PROTOCOL_CLASSES) * SIZE_BUCKETS), nullable=False),
        pa.field("protocol_bytes", _list_of(len(PROTOCOL_CLASSES)), nullable=False),
    ]
)


def write_totals(totals: pa.RecordBatch) -> bytes:
    """The bytes that go into a batch's header."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, totals.schema) as writer:
        writer.write_batch(totals)
    return bytes(sink.getvalue().to_pybytes())


def read_totals(value: bytes) -> pa.RecordBatch:
    """The totals in a batch's header; no row where there are none. Raises: pa.ArrowException when they are none."""
    if not value:
        return pa.RecordBatch.from_pylist([], schema=SCHEMA)
    with pa.ipc.open_stream(value) as reader:
        totals = reader.read_next_batch()
    if not totals.schema.equals(SCHEMA):
        raise pa.ArrowInvalid("these are no interface totals")
    totals.validate(full=True)
    if any(has_nulls(column) for column in totals.columns):
        raise pa.ArrowInvalid("totals without a value")
    return totals
