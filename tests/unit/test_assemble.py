"""A decoded range to its blocks: names, order, tokens; and bytes that were damaged anywhere, which stop nothing."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.accounts import PUBLISH_DELAY_NS, Place, Span
from aggregator.assemble import Range, blocks, identify
from aggregator.decode import Message, decode
from schemas import drop_batch, flow_batch
from schemas.interface_totals import PROTOCOL_CLASSES, SCHEMA, SIZE_BUCKETS, write_totals
from schemas.topics import DROPS, FLOWS
from tests.flow_records import SECOND, drop_records, flow_records, header
from tests.known_pods import known_pods

NOW = 1_800_000_000 * SECOND
PODS = known_pods()
GOOD = flow_batch.write_batch(flow_records(20, seed=1, end_ns=NOW), header(0, at_ns=NOW))


def range_of(*values: bytes, topic: str = FLOWS, now_ns: int = NOW) -> Range:
    messages = [Message(7 + n, value, NOW + n) for n, value in enumerate(values)]
    decoded = decode(topic, messages, marks={}, now_ns=now_ns)
    span = Span(7, 7 + len(values) - 1)
    return identify(Place(topic, "topic-id", 2), span, decoded=decoded, snapshot=PODS, now_ns=now_ns)


def rows_of(found: Range, table: str) -> pa.Table:
    (rows,) = [block.rows for block in blocks(found) if block.table == table]
    return rows


def totals(*, accounted: int, small: int) -> bytes:
    """The totals of one interface's hook."""
    columns: dict[str, object] = {field.name: 0 for field in SCHEMA}
    sizes = [0] * (len(PROTOCOL_CLASSES) * SIZE_BUCKETS)
    sizes[0], sizes[SIZE_BUCKETS - 1] = small, 3
    columns |= {"interface": "eth0", "hook": "xdp", "ifindex": 2, "accounted_packets": accounted}
    columns |= {"size_packets": sizes, "protocol_bytes": [0] * len(PROTOCOL_CLASSES)}
    return write_totals(pa.RecordBatch.from_pylist([columns], schema=SCHEMA))


def test_completeness_is_stored_last_and_every_block_has_its_name() -> None:
    found = blocks(range_of(GOOD, header_only(1)))
    assert [block.table for block in found] == [
        "flows",
        "window_protocols",
        "window_latency",
        "ingest_log",
        "completeness",
    ]
    assert found[0].token == f"topic-id:{FLOWS}:2:7-8:flows"
    assert len({block.token for block in found}) == len(found)


def header_only(first: int) -> bytes:
    return flow_batch.write_batch(flow_records(1, seed=1, end_ns=NOW).slice(1), header(20 + first - 1, at_ns=NOW))


def test_the_log_tells_what_a_range_was_made_of() -> None:
    (row,) = rows_of(range_of(GOOD, b"garbage", header_only(1)), "ingest_log").to_pylist()
    assert row == {
        "topic": FLOWS,
        "topic_id": "topic-id",
        "partition": 2,
        "first": 7,
        "last": 9,
        "messages": 3,
        "records": 20,
        "unreadable": 1,
        "windows": [1_799_999_990],
    }


def test_completeness_counts_late_and_unresolved_records_by_batch() -> None:
    late = flow_records(5, seed=2, end_ns=NOW - 60 * SECOND, span_ns=1)
    stranger = late.set_column(
        late.schema.get_field_index("src_addr"),
        late.schema.field("src_addr"),
        pa.array([bytes(10) + b"\xff\xff\x0a\xf4\xff\xff"] * 5, pa.binary(16)),
    )
    values = [
        flow_batch.write_batch(records, header(0, at_ns=NOW, node=node, counters={"lost_table_full": 3}))
        for node, records in (("a", flow_records(5, seed=2, end_ns=NOW)), ("b", late), ("c", stranger))
    ]
    found = range_of(*values)
    table = rows_of(found, "completeness").select(["node", "first", "next", "late", "unresolved", "counters"])
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("a", 0, 5, 0, 0, [("lost_table_full", 3)]),
        ("b", 0, 5, 5, 0, [("lost_table_full", 3)]),
        ("c", 0, 5, 5, 5, [("lost_table_full", 3)]),
    ]
    assert found.waiting_since_ns == NOW + 2
    assert range_of(values[0]).waiting_since_ns is None


def test_a_record_is_late_when_its_window_has_been_published() -> None:
    value = flow_batch.write_batch(flow_records(1, seed=1, end_ns=NOW, span_ns=1), header(0, at_ns=NOW))
    due = NOW + 10 * SECOND + PUBLISH_DELAY_NS
    for now_ns, late in ((due, 0), (due + 1, 1)):
        assert rows_of(range_of(value, now_ns=now_ns), "completeness").column("late").to_pylist() == [late]


def test_totals_in_headers_become_the_largest_of_their_window() -> None:
    values = [
        flow_batch.write_batch(
            flow_records(1, seed=1, end_ns=NOW).slice(1), header(0, at_ns=at, totals=totals(accounted=seen, small=seen))
        )
        for at, seen in ((NOW, 10), (NOW + SECOND, 30), (NOW + 2 * SECOND, 20), (NOW + 10 * SECOND, 40))
    ]
    found = range_of(*values)
    interfaces = rows_of(found, "window_interfaces").to_pylist()
    assert [(row["window"], row["accounted_packets"]) for row in interfaces] == [
        (1_800_000_000, 30),
        (1_800_000_010, 40),
    ]
    sizes = rows_of(found, "window_sizes").select(["window", "protocol_class", "bucket_bytes", "packets_total"])
    assert [tuple(row.values()) for row in sizes.to_pylist()] == [
        (1_800_000_000, "tcp", 64, 30),
        (1_800_000_000, "tcp", 0, 3),
        (1_800_000_010, "tcp", 64, 40),
        (1_800_000_010, "tcp", 0, 3),
    ]


def test_a_row_says_when_its_ends_were_given_their_names() -> None:
    identified_at = rows_of(range_of(GOOD, now_ns=NOW + 3 * SECOND), "flows").column("identified_at").cast(pa.int64())
    assert identified_at.to_pylist() == [NOW + 3 * SECOND] * 20


def test_drops_are_stored_with_names_and_windows() -> None:
    value = drop_batch.write_batch(drop_records(10, seed=1, end_ns=NOW), header(0, at_ns=NOW))
    found = blocks(range_of(value, topic=DROPS))
    assert [block.table for block in found] == ["drops", "window_drops", "ingest_log", "completeness"]
    assert set(found[0].rows.column("src_workload_kind").to_pylist()) == {"Deployment"}


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_bytes_are_rows_or_a_dead_letter_and_stop_nothing(damage: list[tuple[int, int]]) -> None:
    value = bytearray(GOOD)
    for position, byte in damage:
        value[position] = byte
    found = range_of(bytes(value))
    assert len(found.decoded.links) + len(found.decoded.unreadable) == 1
    assert rows_of(found, "ingest_log").num_rows == 1
