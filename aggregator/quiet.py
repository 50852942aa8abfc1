"""Libraries' log lines to one of a kind a minute: while a broker is away, aiokafka writes fifty a second."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PERIOD_SECONDS: Final = 60.0


class OnceAMinute(logging.Filter):
    """Lets through the first record of each place in the code, and one a minute after it, with how many there were."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: monotonic seconds."""
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this record is to be written."""
        now, place = self._clock(), (record.pathname, record.lineno)
        written, held_back = self._seen.get(place, (now - PERIOD_SECONDS, 0))
        if now - written < PERIOD_SECONDS:
            self._seen[place] = written, held_back + 1
            return False
        if held_back:
            record.msg = f"{record.getMessage()} (and {held_back} more like it)"
            record.args = ()
        self._seen[place] = now, 0
        return True
