"""Inserts and heartbeats to words: who is waited for; said when it begins, now and then while it lasts, and at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from aggregator.health import Progress
    from aggregator.metrics import Metrics
    from aggregator.write import ClickHouseUnavailableError

REPEAT_SECONDS: Final = 30.0


class Outages:
    """Hears of every insert; safe from any thread."""

    def __init__(self, metrics: Metrics, progress: Progress, *, clock: Callable[[], float]) -> None:
        """`clock`: monotonic seconds."""
        self._metrics = metrics
        self._progress = progress
        self._clock = clock
        self._log = structlog.get_logger()
        self._said: dict[str, float] = {}

    def inserted(self, table: str, *, rows: int, seconds: float) -> None:
        """A block is stored."""
        self._metrics.inserted(table, rows=rows, seconds=seconds)
        self.is_back("ClickHouse")

    def retried(self, table: str, error: ClickHouseUnavailableError) -> None:
        """A block will be tried again."""
        self._metrics.retried(table, error)
        self.is_away("ClickHouse", error.detail)

    def is_away(self, server: str, problem: str) -> None:
        """A server does not do its part; work goes on by itself when it does."""
        self._progress.waits(server)
        now = self._clock()
        if now - self._said.get(server, -REPEAT_SECONDS) >= REPEAT_SECONDS:
            self._said[server] = now
            self._log.warning("waits for a server", server=server, problem=problem)

    def is_back(self, server: str) -> None:
        """A server does its part."""
        if self._said.pop(server, None) is not None:
            self._log.warning("a server is back", server=server)
            self._progress.moved(self._clock())
