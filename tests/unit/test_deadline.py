"""Waiting with a deadline to what a test sees of it."""

from itertools import count

import pytest

from tests.deadline import Eventually


def test_the_first_true_value_is_returned(eventually: Eventually) -> None:
    numbers = count()
    assert eventually(lambda: next(numbers) // 2, within_seconds=5) == 1


def test_a_condition_that_stays_false_fails_with_its_last_value(eventually: Eventually) -> None:
    def arrived() -> list[str]:
        return []

    with pytest.raises(AssertionError, match=r"arrived was still \[\] after 0.05 s"):
        eventually(arrived, within_seconds=0.05)


def test_an_error_in_the_condition_passes_through_at_once(eventually: Eventually) -> None:
    def refused() -> bool:
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        eventually(refused, within_seconds=60)
