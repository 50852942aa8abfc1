"""Batches handed over and answers that come back to positions: what may leave the ring, what may be said. Pure.

The ring is the queue. A position is a record's ordinal since the ring's creation. A record leaves the ring when its
batch and all before it are acknowledged, so who comes after a crash begins with the first that may not have arrived.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _InFlight:
    next: int
    acknowledged: bool = False


class Delivery:
    """Positions of one ring: handed over, acknowledged."""

    def __init__(self, position: int) -> None:
        """`position`: the ring's first record that is not acknowledged."""
        self.acknowledged = position
        """All records before are on the brokers."""
        self.next = position
        """The first record that is not handed over."""
        self._in_flight: deque[_InFlight] = deque()
        self.answers = 0
        """Batches acknowledged so far."""
        self.failure: str | None = None
        """A batch failed; nothing may be handed over until `rewind`."""

    @property
    def in_flight(self) -> int:
        """Batches handed over and not acknowledged in order."""
        return len(self._in_flight)

    def hand_over(self, records: int) -> Callable[[str | None], None]:
        """Note a batch of the next records; the result takes the answer, None or an error, once."""
        self.next += records
        batch = _InFlight(self.next)
        self._in_flight.append(batch)

        def answer(error: str | None) -> None:
            if error is None:
                self._acknowledge(batch)
            elif batch in self._in_flight:
                self.failure = error

        return answer

    def take_back(self, records: int) -> None:
        """Undo the last `hand_over`: it found no room."""
        self._in_flight.pop()
        self.next -= records

    def rewind(self) -> None:
        """Begin again behind what is acknowledged; answers to what was handed over before mean nothing any more."""
        self._in_flight.clear()
        self.next = self.acknowledged
        self.failure = None

    def _acknowledge(self, batch: _InFlight) -> None:
        batch.acknowledged = True
        self.answers += 1
        while self._in_flight and self._in_flight[0].acknowledged:
            self.acknowledged = self._in_flight.popleft().next


class ExportedUntil:
    """What the sweep found, to what a batch may say: every packet up to then stands before the batch's end."""

    def __init__(self, since_ns: int) -> None:
        self.said_ns = since_ns
        """What the last batch said."""
        self._ahead: deque[tuple[int, int]] = deque()

    def found(self, until_ns: int, position: int) -> None:
        """Every packet up to `until_ns` is in a record before `position`."""
        self._ahead.append((position, until_ns))

    def at(self, position: int) -> int:
        """The latest time found for a batch that ends before `position`; it never goes back."""
        while self._ahead and self._ahead[0][0] <= position:
            self.said_ns = max(self.said_ns, self._ahead.popleft()[1])
        return self.said_ns
