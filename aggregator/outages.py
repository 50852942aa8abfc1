"""Inserts and heartbeats to words: who is waited for; said when it begins, while it lasts, and when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
        self._said: dict[tuple[str, str], float] = {}
        self._unfollowed: dict[str, float] = {}

    def inserted(self, table: str, *, rows: int, seconds: float) -> None:
        """A block is stored."""
        self._metrics.inserted(table, rows=rows, seconds=seconds)
        self.is_back("ClickHouse", table)

    def retried(self, table: str, error: ClickHouseUnavailableError) -> None:
        """A block will be tried again."""
        self._metrics.retried(table, error)
        self.is_away("ClickHouse", table, problem=error.detail)

    def hear_watch(self, troubles: Mapping[str, str]) -> None:
        """What keeps resources of Kubernetes from being followed, by resource; records go on with what is known."""
        now = self._clock()
        for resource, problem in troubles.items():
            if now - self._unfollowed.get(resource, -REPEAT_SECONDS) >= REPEAT_SECONDS:
                self._unfollowed[resource] = now
                self._log.warning("kubernetes is not followed", resource=resource, problem=problem)
        for resource in self._unfollowed.keys() - troubles.keys():
            del self._unfollowed[resource]
            self._log.warning("kubernetes is followed again", resource=resource)

    def is_away(self, server: str, part: str = "", *, problem: str) -> None:
        """A server, or a part of it, does not do what is asked; work goes on by itself when it does."""
        self._progress.waits(server)
        now = self._clock()
        if now - self._said.get((server, part), -REPEAT_SECONDS) >= REPEAT_SECONDS:
            self._said[server, part] = now
            self._log.warning("waits for a server", server=server, part=part, problem=problem)

    def is_back(self, server: str, part: str = "") -> None:
        """A server does what is asked."""
        if self._said.pop((server, part), None) is None:
            return
        self._log.warning("a server is back", server=server, part=part)
        if server not in {each for each, _ in tuple(self._said)}:
            self._progress.goes_on(server)
