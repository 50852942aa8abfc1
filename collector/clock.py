"""The kernel's monotonic times to Unix times: one offset for a whole batch, measured again and again.

The programs stamp packets with CLOCK_MONOTONIC, which never steps. What the wall clock does meanwhile (an NTP step, a
slew) moves only the offset between batches: within a record start and end always move together.
"""

from collections.abc import Callable
from typing import Final

_TRIES: Final = 5
_AGE_NS: Final = 10**9


class Clock:
    """Both clocks as functions, and the offset between them, at most a second old."""

    def __init__(self, monotonic_ns: Callable[[], int], unix_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._unix_ns = unix_ns
        self._offset_ns = 0
        self._measured_ns = -_AGE_NS

    def now_ns(self) -> int:
        """Monotonic nanoseconds, the programs' time base."""
        return self._monotonic_ns()

    def offset_ns(self) -> int:
        """What to add to a monotonic time to have it as Unix time."""
        now = self._monotonic_ns()
        if now - self._measured_ns >= _AGE_NS:
            self._offset_ns = self._measure()
            self._measured_ns = now
        return self._offset_ns

    def to_unix_ns(self, monotonic_ns: int) -> int:
        """A monotonic time as Unix time."""
        return monotonic_ns + self.offset_ns()

    def _measure(self) -> int:
        """The offset by the narrowest of some readings: being scheduled out between two clocks makes one wide."""
        readings = []
        for _ in range(_TRIES):
            before = self._monotonic_ns()
            unix = self._unix_ns()
            after = self._monotonic_ns()
            readings.append((after - before, unix - (before + after) // 2))
        return min(readings)[1]
