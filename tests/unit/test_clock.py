"""The kernel's monotonic times to Unix times, under slews, steps and a scheduler that interrupts."""

from typing import TYPE_CHECKING

import pytest

from collector.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.unit

SECOND = 10**9


class Clocks:
    """Two clocks a test turns by hand."""

    def __init__(self) -> None:
        self.monotonic = 100 * SECOND
        self.unix = 1_700_000_000 * SECOND
        self.pauses: Iterator[int] = iter(())

    def read_monotonic(self) -> int:
        return self.monotonic

    def read_unix(self) -> int:
        self.pass_time(next(self.pauses, 0))
        return self.unix

    def pass_time(self, nanoseconds: int) -> None:
        self.monotonic += nanoseconds
        self.unix += nanoseconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def clock(clocks: Clocks) -> Clock:
    return Clock(clocks.read_monotonic, clocks.read_unix)


def test_a_monotonic_time_becomes_the_unix_time_of_the_same_moment(clock: Clock, clocks: Clocks) -> None:
    assert clock.to_unix_ns(clock.now_ns()) == clocks.unix
    assert clock.to_unix_ns(clock.now_ns() - 5) == clocks.unix - 5


def test_a_step_of_the_wall_clock_is_followed_within_a_second(clock: Clock, clocks: Clocks) -> None:
    before = clock.offset_ns()
    clocks.unix -= 3600 * SECOND
    assert clock.offset_ns() == before
    clocks.pass_time(SECOND)
    assert clock.offset_ns() == before - 3600 * SECOND


def test_being_interrupted_between_the_two_clocks_does_not_bend_the_offset(clock: Clock, clocks: Clocks) -> None:
    clocks.pauses = iter([40_000_000, 3_000_000, 0, 90_000_000, 0])
    assert clock.offset_ns() == 1_700_000_000 * SECOND - 100 * SECOND
