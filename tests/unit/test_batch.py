"""The envelope of the batch topics: what is written is read back, and nothing else is read as a batch."""

import dataclasses
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import drop_batch, flow_batch, topics
from schemas.batch import FUTURE_NS, PAST_NS, BatchHeader, UnreadableBatchError

NOW = 1_800_000_000 * 10**9

HEADER = BatchHeader(
    node="node-1",
    boot_id="b",
    ring_id="00ff",
    first=7,
    counting_since_ns=NOW - 5,
    exported_until_ns=NOW - 1,
    created_ns=NOW,
    node_addresses=bytes(32),
    counters={"lost_table_full": 3},
    totals=b"\x00\xff",
)


def records(contract: pa.Schema, *, start: int = NOW - 2, end: int = NOW - 1, rows: int = 1) -> pa.RecordBatch:
    row: dict[str, object] = {}
    for field in contract:
        if pa.types.is_dictionary(field.type):
            row[field.name] = "name"
        elif pa.types.is_fixed_size_list(field.type):
            row[field.name] = [0] * field.type.list_size
        elif pa.types.is_fixed_size_binary(field.type):
            row[field.name] = bytes(16)
        else:
            row[field.name] = 1
    row["time_start"], row["time_end"] = pa.scalar(start, flow_batch.TIME), pa.scalar(end, flow_batch.TIME)
    columns = [pa.array([row[f.name]] * rows, f.type) for f in contract]
    return pa.RecordBatch.from_arrays(columns, schema=contract)


@pytest.mark.parametrize("contract", [flow_batch, drop_batch], ids=["flows", "drops"])
def test_a_written_batch_is_read_back_with_its_header(contract):
    written = records(contract.SCHEMA, rows=3)

    batch = contract.read_batch(contract.write_batch(written, HEADER), now_ns=NOW)

    assert batch.header == HEADER
    assert batch.records.equals(written)
    assert batch.next == 10


RECORDED = Path(__file__).parent / "recorded"


@pytest.mark.parametrize("version", ["flows-1", "drops-1"])
def test_a_message_of_every_version_so_far_is_still_read(version):
    contract = {"flows": flow_batch, "drops": drop_batch}[version.split("-", maxsplit=1)[0]]

    batch = contract.read_batch((RECORDED / f"{version}.arrow").read_bytes(), now_ns=NOW)

    assert batch.header == HEADER
    assert batch.records.equals(records(contract.SCHEMA, rows=2))


def test_an_empty_batch_is_a_statement_too():
    empty = flow_batch.SCHEMA.empty_table().to_batches() or [records(flow_batch.SCHEMA).slice(0, 0)]

    batch = flow_batch.read_batch(flow_batch.write_batch(empty[0], HEADER), now_ns=NOW)

    assert (batch.records.num_rows, batch.next) == (0, HEADER.first)


def test_a_column_added_later_is_passed_over():
    grown = records(flow_batch.SCHEMA)
    stream = flow_batch.write_batch(grown, HEADER)
    with pa.ipc.open_stream(stream) as reader:
        metadata = reader.schema.metadata
    grown = grown.append_column("response_ns", pa.array([1], pa.uint32())).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, grown.schema) as writer:
        writer.write_batch(grown)

    batch = flow_batch.read_batch(sink.getvalue().to_pybytes(), now_ns=NOW)

    assert batch.records.schema.names == flow_batch.SCHEMA.names


def stream(batch: pa.RecordBatch, *, times: int = 1, metadata: dict[bytes, bytes] | None = None) -> bytes:
    batch = batch.replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        for _ in range(times):
            writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def without(name: str, column: pa.Array) -> bytes:
    """A batch of one record with another column in a column's place."""
    batch = records(flow_batch.SCHEMA)
    place = batch.schema.get_field_index(name)
    field = batch.schema.field(place)
    return flow_batch.write_batch(batch.set_column(place, field, column.cast(field.type)), HEADER)


NO_NAME = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array([None], pa.string()))

GOOD = flow_batch.write_batch(records(flow_batch.SCHEMA), HEADER)
NAMED = {b"schema": b"flows/1"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not_arrow"),
        (b"GET / HTTP/1.1\r\n\r\n", "not_arrow"),
        (GOOD[:-40], "not_arrow"),
        (GOOD[: len(GOOD) // 2], "not_arrow"),
        (bytes(topics.MAX_MESSAGE_BYTES + 1), "too_large"),
        (stream(records(flow_batch.SCHEMA), times=2, metadata=NAMED), "too_large"),
        (drop_batch.write_batch(records(drop_batch.SCHEMA), HEADER), "wrong_schema"),
        (stream(records(flow_batch.SCHEMA)), "wrong_schema"),
        (without("packets", pa.array([None], pa.uint64())), "wrong_schema"),
        (without("interface", NO_NAME), "wrong_schema"),
        (without("rtt_samples", pa.array([[None] * 16], pa.list_(pa.uint32(), 16))), "wrong_schema"),
        (stream(records(flow_batch.SCHEMA), metadata=NAMED), "wrong_header"),
        (stream(records(flow_batch.SCHEMA), metadata=NAMED | {b"header": b'{"node": 3}'}), "wrong_header"),
        (
            flow_batch.write_batch(records(flow_batch.SCHEMA), dataclasses.replace(HEADER, node_addresses=b"1")),
            "wrong_header",
        ),
        (flow_batch.write_batch(records(flow_batch.SCHEMA), dataclasses.replace(HEADER, first=-1)), "wrong_header"),
        (flow_batch.write_batch(records(flow_batch.SCHEMA, start=NOW), HEADER), "impossible_time"),
        (flow_batch.write_batch(records(flow_batch.SCHEMA, start=-1), HEADER), "impossible_time"),
        (flow_batch.write_batch(records(flow_batch.SCHEMA, end=NOW + FUTURE_NS + 1), HEADER), "impossible_time"),
        (
            flow_batch.write_batch(records(flow_batch.SCHEMA, start=1, end=NOW - PAST_NS - 1), HEADER),
            "impossible_time",
        ),
    ],
    ids=[
        "nothing",
        "another protocol",
        "cut at its end",
        "cut in half",
        "larger than any message",
        "two record batches",
        "a batch of another topic",
        "no version",
        "no number",
        "no name",
        "no sample",
        "no header",
        "a header of the wrong types",
        "half an address",
        "a position below zero",
        "ended before it began",
        "began before 1970",
        "far in the future",
        "older than its retention",
    ],
)
def test_what_is_no_batch_is_refused_with_its_reason(value, reason):
    with pytest.raises(UnreadableBatchError) as refused:
        flow_batch.read_batch(value, now_ns=NOW)

    assert refused.value.reason == reason


REASONS = {"not_arrow", "too_large", "wrong_schema", "wrong_header", "impossible_time"}


@given(position=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255))
def test_a_damaged_byte_is_read_or_refused_and_never_more(position, byte):
    damaged = GOOD[:position] + bytes([byte]) + GOOD[position + 1 :]
    try:
        outcome = flow_batch.read_batch(damaged, now_ns=NOW).records.schema
    except UnreadableBatchError as refused:
        outcome = refused.reason

    assert outcome in REASONS or outcome.equals(flow_batch.SCHEMA)
