"""Condition to its value, within a deadline: how tests wait, instead of sleeping."""

import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

Value = TypeVar("Value")

POLL_SECONDS = 0.02
SELDOM_SECONDS = 0.25
"""What lasts is looked at less often, each time after a tenth more: a look costs whoever is asked."""


class Eventually(Protocol):
    """What the fixture `eventually` gives."""

    def __call__(self, condition: Callable[[], Value], *, within_seconds: float) -> Value:
        """Return the condition's first true value."""


def eventually(condition: Callable[[], Value], *, within_seconds: float) -> Value:
    """Return the condition's first true value.

    Raises:
        AssertionError: the condition was still false at the deadline; the message holds its last value. What the
            condition itself raises passes through at once.
    """
    begin = time.monotonic()
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - begin
        if waited >= within_seconds:
            name = getattr(condition, "__qualname__", repr(condition))
            message = f"{name} was still {value!r} after {within_seconds} s"
            raise AssertionError(message)
        pause.wait(min(max(POLL_SECONDS, waited / 10), SELDOM_SECONDS, within_seconds - waited))
