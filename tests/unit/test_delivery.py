"""Batches handed over and answers that come back to positions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.delivery import Delivery, ExportedUntil

pytestmark = pytest.mark.unit


def test_a_record_may_leave_the_ring_when_its_batch_is_acknowledged() -> None:
    delivery = Delivery(100)
    answer = delivery.hand_over(10)
    assert (delivery.next, delivery.acknowledged, delivery.in_flight) == (110, 100, 1)
    answer(None)
    assert (delivery.next, delivery.acknowledged, delivery.in_flight) == (110, 110, 0)


def test_an_acknowledgement_waits_for_those_before_it() -> None:
    delivery = Delivery(0)
    first, second, third = delivery.hand_over(5), delivery.hand_over(0), delivery.hand_over(7)
    third(None)
    second(None)
    assert delivery.acknowledged == 0
    first(None)
    assert (delivery.acknowledged, delivery.in_flight) == (12, 0)


def test_a_batch_that_failed_stops_all_behind_it_and_the_next_producer_begins_with_it() -> None:
    delivery = Delivery(0)
    first, second, third = delivery.hand_over(5), delivery.hand_over(5), delivery.hand_over(5)
    first(None)
    second("broker said no")
    third(None)
    assert (delivery.failure, delivery.acknowledged) == ("broker said no", 5)
    delivery.rewind()
    assert (delivery.failure, delivery.next, delivery.in_flight) == (None, 5, 0)


def test_late_answers_of_an_abandoned_producer_mean_nothing() -> None:
    delivery = Delivery(0)
    late, later = delivery.hand_over(5), delivery.hand_over(5)
    delivery.rewind()
    late(None)
    later("purged")
    assert (delivery.acknowledged, delivery.failure, delivery.next) == (0, None, 0)


def test_a_batch_that_found_no_room_is_handed_over_again_later() -> None:
    delivery = Delivery(3)
    delivery.hand_over(4)
    delivery.take_back(4)
    assert (delivery.next, delivery.in_flight) == (3, 0)


@given(
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=30),
    order=st.randoms(use_true_random=False),
    fails=st.integers(0, 40),
)
def test_positions_never_pass_a_batch_without_answer(sizes: list[int], order: object, fails: int) -> None:
    delivery = Delivery(0)
    answers = [(place, delivery.hand_over(size)) for place, size in enumerate(sizes)]
    shuffled = list(answers)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    answered: set[int] = set()
    for place, answer in shuffled:
        if place == fails:
            answer("lost")
            continue
        answer(None)
        answered.add(place)
        prefix = next((at for at in range(len(sizes)) if at not in answered), len(sizes))
        assert delivery.acknowledged == sum(sizes[:prefix])
    assert (delivery.failure == "lost") == (fails < len(sizes))


def test_a_batch_says_the_latest_time_whose_records_it_reaches() -> None:
    until = ExportedUntil(1_000)
    until.found(2_000, 10)
    until.found(3_000, 10)
    until.found(4_000, 25)
    assert until.at(9) == 1_000
    assert until.at(10) == 3_000
    assert until.at(24) == 3_000
    assert until.at(30) == 4_000


def test_what_was_said_once_is_never_taken_back() -> None:
    until = ExportedUntil(5_000)
    until.found(3_000, 0)
    assert until.at(0) == 5_000
    until.found(9_000, 4)
    assert until.at(4) == 9_000
    assert until.at(0) == 9_000
