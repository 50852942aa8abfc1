"""Messages of a partition to records: each ring position once, holes counted, the unreadable named."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aggregator.decode import Mark, Message, Ring, decode
from schemas import drop_batch, flow_batch
from schemas.topics import DROPS, FLOWS
from tests.flow_records import SECOND, drop_records, flow_records, header

NOW = 1_800_000_000 * SECOND
RING = Ring("node-1", "ring")
RECORDS = flow_records(100, seed=1, end_ns=NOW)


def message(offset: int, *, first: int, count: int, **more: Any) -> Message:
    """Records first … first + count of one ring."""
    value = flow_batch.write_batch(RECORDS.slice(first, count), header(first, at_ns=NOW, **more))
    return Message(offset, value, NOW)


def positions(*spans: tuple[int, int]) -> list[int]:
    return [position for first, end in spans for position in range(first, end)]


def ports(records: pa.RecordBatch) -> list[int]:
    found: list[int] = records.column("src_port").to_pylist()
    return found


@pytest.mark.parametrize(
    ("sent", "marks", "taken", "gaps", "repeated"),
    [
        ([(0, 10), (10, 20)], {}, [(0, 20)], [0, 0], [0, 0]),
        ([(0, 10), (0, 10)], {}, [(0, 10)], [0, 0], [0, 10]),
        ([(0, 10), (5, 15)], {}, [(0, 15)], [0, 0], [0, 5]),
        ([(0, 10), (2, 8)], {}, [(0, 10)], [0, 0], [0, 6]),
        ([(0, 10), (13, 20)], {}, [(0, 10), (13, 20)], [0, 3], [0, 0]),
        ([(7, 10)], {}, [(7, 10)], [7], [0]),
        ([(7, 10)], {RING: Mark(7, 7)}, [(7, 10)], [0], [0]),
        ([(7, 10)], {RING: Mark(9, 9)}, [(9, 10)], [0], [2]),
        ([(7, 10)], {RING: Mark(0, 7)}, [(7, 10)], [0], [0]),
        ([(7, 10)], {RING: Mark(0, 9)}, [(7, 10)], [0], [0]),
        ([(10, 10), (10, 20)], {RING: Mark(10, 10)}, [(10, 20)], [0, 0], [0, 0]),
    ],
    ids=[
        "in order",
        "sent again whole",
        "sent again in part",
        "an older part sent again",
        "a hole",
        "an unknown ring that does not begin at 0",
        "behind what is stored",
        "stored in part before",
        "known from the topic's life before",
        "repeated across the topic's lives: stored in both",
        "an empty batch",
    ],
)
def test_each_position_is_taken_once(
    sent: list[tuple[int, int]],
    marks: dict[Ring, Mark],
    taken: list[tuple[int, int]],
    gaps: list[int],
    repeated: list[int],
) -> None:
    messages = [message(n, first=first, count=end - first) for n, (first, end) in enumerate(sent)]
    found = decode(FLOWS, messages, marks=marks, now_ns=NOW)
    all_ports = ports(RECORDS)
    assert ports(found.records) == [all_ports[position] for position in positions(*taken)]
    assert [link.gap for link in found.links] == gaps
    assert [link.repeated for link in found.links] == repeated
    assert found.marks[RING].next == max(end for _, end in [*sent, (0, marks.get(RING, Mark(0, 0)).next)])


def test_marks_do_not_move_before_the_range_is_stored() -> None:
    marks: dict[Ring, Mark] = {}
    first = decode(FLOWS, [message(0, first=0, count=10)], marks=marks, now_ns=NOW)
    again = decode(FLOWS, [message(0, first=0, count=10)], marks=marks, now_ns=NOW)
    assert marks == {}
    assert first.records.equals(again.records)


def test_rings_and_nodes_are_told_apart() -> None:
    found = decode(
        FLOWS,
        [
            message(0, first=0, count=10),
            message(1, first=0, count=10, ring_id="other"),
            message(2, first=0, count=10, node="node-2"),
        ],
        marks={},
        now_ns=NOW,
    )
    assert found.records.num_rows == 30
    assert set(found.marks) == {RING, Ring("node-1", "other"), Ring("node-2", "ring")}
    assert np.bincount(found.link_of_record).tolist() == [10, 10, 10]


def test_a_name_is_one_name_in_whatever_batch_it_came() -> None:
    one = RECORDS.slice(0, 2)
    words = [pa.array(["a", "b"]), pa.array(["b", "c"])]
    values = []
    for n, names in enumerate(words):
        column = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), names)
        batch = one.set_column(one.schema.get_field_index("interface"), one.schema.field("interface"), column)
        values.append(Message(n, flow_batch.write_batch(batch, header(2 * n, at_ns=NOW)), NOW))
    found = decode(FLOWS, values, marks={}, now_ns=NOW).records.column("interface")
    assert found.to_pylist() == ["a", "b", "b", "c"]
    assert sorted(found.dictionary.to_pylist()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"garbage", "not_arrow"),
        (b"", "not_arrow"),
        (message(0, first=0, count=10).value[:300], "not_arrow"),
        (drop_batch.write_batch(drop_records(2, seed=1, end_ns=NOW), header(0, at_ns=NOW)), "wrong_schema"),
        (message(0, first=0, count=10, totals=b"none").value, "wrong_header"),
        (message(0, first=0, count=10, created_ns=NOW + 400 * SECOND).value, "impossible_time"),
        (message(0, first=0, count=10, exported_until_ns=NOW + 400 * SECOND).value, "impossible_time"),
        (message(0, first=0, count=10, created_ns=NOW - 90_000 * SECOND).value, "impossible_time"),
    ],
    ids=[
        "garbage",
        "nothing",
        "cut off",
        "another topic's",
        "totals that are none",
        "made later",
        "reaches too far",
        "old",
    ],
)
def test_what_cannot_be_read_is_named_and_the_rest_goes_on(value: bytes, reason: str) -> None:
    found = decode(
        FLOWS,
        [message(4, first=0, count=10), Message(5, value, NOW), message(6, first=10, count=10)],
        marks={},
        now_ns=NOW,
    )
    assert [(letter.message.offset, letter.reason) for letter in found.unreadable] == [(5, reason)]
    assert found.records.num_rows == 20
    assert [link.gap for link in found.links] == [0, 0]


def test_a_range_may_be_empty() -> None:
    found = decode(DROPS, [Message(0, b"garbage", NOW)], marks={}, now_ns=NOW)
    assert found.records.schema.equals(drop_batch.SCHEMA)
    assert (found.records.num_rows, list(found.links), dict(found.marks)) == (0, [], {})
