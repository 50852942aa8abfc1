"""Sweeps, rings and Kafka's answers to one loop that never waits for anything but time.

While Kafka is away the rings fill, then the table grows coarser, then packets are counted as lost: all of it in the
kernel, none in this process. After an error that an idempotent producer can't survive, a new one begins where the rings
hold what was not acknowledged.
"""

from collections.abc import Callable
from typing import Final

from collector.clock import Clock
from collector.drop_watch import DropWatch
from collector.generation import Generation
from collector.logs import log
from collector.publish import Publisher
from collector.stream import RECORDS_A_BATCH

_BUSY_SECONDS: Final = 0.002
_IDLE_SECONDS: Final = 0.1
"""Meanwhile a ring of the default size takes half a million records a second; what is more waits in the table."""
_FIRST_BACKOFF_NS: Final = 10**9
_LONGEST_BACKOFF_NS: Final = 30 * 10**9
_DRAIN_NS: Final = 10 * 10**9
"""So long a stop waits for Kafka to acknowledge anything at all."""


class Loop:
    """The layouts of a node: one that counts, and those that are being closed."""

    def __init__(
        self,
        active: Generation,
        closing: list[Generation],
        *,
        new_publisher: Callable[[], Publisher],
        drops: DropWatch,
        clock: Clock,
    ) -> None:
        self.active = active
        self.closing = closing
        self._new_publisher = new_publisher
        self.publisher = new_publisher()
        self._drops = drops
        self._clock = clock
        self._backoff_ns = _FIRST_BACKOFF_NS
        self._again_ns = 0
        self.errors = 0
        """Told by producers before this one."""
        self.acknowledged_ns = 0
        """When a batch was acknowledged last (monotonic); 0: never."""
        self._acknowledged = 0
        self._is_away = False

    def turn(self) -> None:
        """One round: sweep, read, hand over, take answers."""
        self._drops.follow(self._clock.now_ns())
        handed_over = self.active.step(self.publisher)
        self._close_old()
        is_busy = handed_over >= RECORDS_A_BATCH or self._drops.is_waiting
        self._take_answers(_BUSY_SECONDS if is_busy else _IDLE_SECONDS)

    def finish(self, is_given_up: Callable[[], bool]) -> bool:
        """Close all layouts, once nothing is attached any more; False: Kafka does not answer, their pins stay."""
        self.closing.append(self.active)
        self._note_progress()
        since_ns = self._clock.now_ns()
        while self.closing and not is_given_up():
            if self._clock.now_ns() - max(since_ns, self.acknowledged_ns) >= _DRAIN_NS:
                return False
            self._close_old()
            self._take_answers(_BUSY_SECONDS)
        return not self.closing

    def _close_old(self) -> None:
        for generation in list(self.closing):
            if generation.close(self.publisher):
                generation.remove()
                self.closing.remove(generation)
                log.info("layout_closed", layout=generation.pins.directory.name)

    def _take_answers(self, timeout_seconds: float) -> None:
        self.publisher.poll(timeout_seconds)
        self._note_progress()
        failure = self.publisher.failure or next((one for one in self._failures() if one), None)
        if failure is not None:
            self._begin_again(failure)

    def _note_progress(self) -> None:
        answered = sum(one.flows.delivery.answers + one.drops.delivery.answers for one in self._all())
        if answered != self._acknowledged:
            self._acknowledged = answered
            self.acknowledged_ns = self._clock.now_ns()
            self._backoff_ns = _FIRST_BACKOFF_NS
        self._tell_outage()

    def _tell_outage(self) -> None:
        """One line when Kafka goes away, and one when it is back."""
        error = self.publisher.last_error
        if error is not None and not self._is_away:
            log.warning("kafka_does_not_answer", error=error, consequence="records wait in the rings")
        elif error is None and self._is_away:
            log.info("kafka_answers_again")
        self._is_away = error is not None

    def _begin_again(self, failure: str) -> None:
        """Replace the producer, not more often than the backoff allows."""
        now = self._clock.now_ns()
        if now < self._again_ns:
            return
        log.error("kafka_producer_failed", reason=failure, next_attempt_seconds=self._backoff_ns / 1e9)
        self._again_ns = now + self._backoff_ns
        self._backoff_ns = min(2 * self._backoff_ns, _LONGEST_BACKOFF_NS)
        self.errors += self.publisher.errors
        self.publisher.abandon()
        self.publisher = self._new_publisher()
        for generation in self._all():
            generation.rewind()

    def _all(self) -> list[Generation]:
        return [self.active, *(one for one in self.closing if one is not self.active)]

    def _failures(self) -> list[str | None]:
        return [stream.delivery.failure for one in self._all() for stream in (one.flows, one.drops)]
