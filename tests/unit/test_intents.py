"""Messages to ranges: a stated range is formed again exactly, whatever came meanwhile."""

import pytest

from aggregator.accounts import Place, Span
from aggregator.decode import Mark, Message, Ring
from aggregator.intents import Offset, Partition, intended_last, to_metadata

PLACE = Place("kubenetinsight.flows", "topic-id", 3)
RING = Ring("node", "ring")


def partition(stored: int, *, intended: int | None = None) -> Partition:
    return Partition(PLACE, stored, generation=1, intended=intended)


def take(into: Partition, *offsets: int) -> list[bool]:
    return [into.take(Message(offset, b"1234", 0)) for offset in offsets]


def offsets(messages: list[Message]) -> list[int]:
    return [message.offset for message in messages]


@pytest.mark.parametrize(
    ("metadata", "last"),
    [
        (to_metadata(9, "topic-id"), 9),
        (to_metadata(5, "topic-id"), 5),
        (to_metadata(4, "topic-id"), None),
        (to_metadata(9, "another-life"), None),
        ("", None),
        ("somebody else's", None),
        ('{"last": "9", "topic_id": "topic-id"}', None),
    ],
    ids=["a range", "one message", "behind the offset", "of another life of the topic", "none", "text", "wrong type"],
)
def test_metadata_states_an_intent_or_none(metadata: str, last: int | None) -> None:
    assert intended_last(Offset(offset=5, metadata=metadata), "topic-id") == last


def test_only_the_next_message_is_taken() -> None:
    one = partition(5)
    assert take(one, 4, 6, 5, 5, 7, 6) == [False, False, True, False, False, True]
    assert offsets(one.next_range()) == [5, 6]
    assert one.held_bytes == 8


def test_a_range_goes_from_what_is_stored_to_what_has_come() -> None:
    one = partition(5)
    take(one, 5, 6, 7)
    messages = one.next_range()
    assert one.span(messages) == Span(5, 7)
    assert one.to_intent(Span(5, 7)) == Offset(5, to_metadata(7, "topic-id"))
    one.intended = 7
    take(one, 8)
    assert offsets(one.next_range()) == [5, 6, 7]
    one.advance(messages, {RING: Mark(10, 10)})
    assert one.stored == 8
    assert one.marks == {RING: Mark(10, 10)}
    assert offsets(one.next_range()) == [8]


def test_an_intended_range_waits_until_it_is_whole_and_takes_no_more() -> None:
    one = partition(5, intended=7)
    take(one, 5, 6)
    assert one.next_range() == []
    take(one, 7, 8, 9)
    assert offsets(one.next_range()) == [5, 6, 7]


def test_a_partition_that_falls_idle_has_something_to_say_once() -> None:
    one = Partition(PLACE, 5, generation=1, committed=5)
    assert not one.must_advance
    take(one, 5)
    assert not one.must_advance
    one.advance(one.next_range(), {})
    assert one.must_advance
    one.committed = one.stored
    assert not one.must_advance


@pytest.mark.parametrize(
    ("intended", "taken", "earliest", "lost", "stored", "expected", "left"),
    [
        (None, [], 9, 4, 9, 9, None),
        (None, [5, 6], 9, 2, 5, 9, None),
        (7, [], 6, 1, 5, 6, 7),
        (7, [], 9, 4, 9, 9, None),
        (7, [5], 9, 3, 5, 9, 7),
        (None, [5], 3, 0, 5, 6, None),
    ],
    ids=[
        "nothing held",
        "some held",
        "the intent's beginning is gone",
        "the whole intent is gone",
        "the intent's end is gone",
        "nothing is gone",
    ],
)
def test_what_kafka_has_forgotten_is_counted(
    intended: int | None, taken: list[int], earliest: int, lost: int, stored: int, expected: int, left: int | None
) -> None:
    one = partition(5, intended=intended)
    take(one, *taken)
    assert one.skip_to(earliest) == lost
    assert (one.stored, one.expected, one.intended) == (stored, expected, left)


def test_an_intent_whose_beginning_is_gone_keeps_its_name() -> None:
    one = partition(5, intended=7)
    one.skip_to(6)
    take(one, 6, 7)
    assert one.span(one.next_range()) == Span(5, 7)
