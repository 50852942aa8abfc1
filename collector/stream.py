"""One ring to one topic: read, turn into columns, hand over, and move the ring's position behind the acknowledgements.

A step takes what is there and what there is room for, and returns. A batch that is not full waits for the next sweep:
then it says more of `exported_until`, too. When the topic has been silent for a second, a batch without records goes
out: silence is then a statement.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from collector.delivery import Delivery, ExportedUntil
from collector.publish import Publisher
from collector.ring import Ring
from schemas.batch import BatchHeader, Contract

RECORDS_A_BATCH: Final = 2_000
"""Larger batches fall out of the processor's cache; smaller ones cost too much each."""
_IN_FLIGHT: Final = 24
"""Batches without acknowledgement: enough to keep a broker busy, small beside the ring."""
_SILENCE_NS: Final = 10**9

Records = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true of the node when a batch is made. Times are Unix nanoseconds."""

    now_ns: int
    counting_since_ns: int
    offset_ns: int
    """From the programs' monotonic time to Unix time."""
    held_packets: int = 0
    held_bytes: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    node_addresses: bytes = b""
    totals: bytes = b""
    """To be sent with one batch, not with each."""


class Stream:
    """A ring, its topic, and what is on the way between them."""

    def __init__(
        self,
        ring: Ring,
        contract: Contract,
        *,
        topic: str,
        identity: BatchHeader,
        to_columns: Callable[[Records, int], pa.RecordBatch],
        learn: Callable[[pa.RecordBatch], None],
    ) -> None:
        """`identity`: what stays the same in every header; `to_columns` takes records and the offset to Unix time.

        `learn` sees each record once, also when a batch has to be handed over again.
        """
        self._ring = ring
        self._contract = contract
        self.topic = topic
        self._identity = identity
        self._to_columns = to_columns
        self._learn = learn
        self.delivery = Delivery(ring.position)
        self._began = self._learned = self._released = ring.position
        self.exported_until = ExportedUntil(0)
        self._last_sent_ns = 0
        self.is_closed = False

    def step(self, publisher: Publisher, facts: Callable[[], Facts], *, now_ns: int, is_swept: bool) -> int:
        """Hand over full batches and, after a sweep, the rest. Returns the number of records handed over.

        `now_ns` is monotonic.
        """
        self.settle()
        if self.is_closed or self.delivery.failure:
            return 0
        handed_over = 0
        while self._is_due(now_ns, is_swept=is_swept):
            records = self._ring.read(RECORDS_A_BATCH, after=self.delivery.next)
            if not self._hand_over(publisher, records, facts=facts(), closed=False):
                break
            self._last_sent_ns = now_ns
            handed_over += len(records)
        return handed_over

    def close(self, publisher: Publisher, facts: Callable[[], Facts]) -> bool:
        """Hand over the last batch of a ring that nothing writes to any more; False: not yet, call again."""
        self.settle()
        if not self.is_closed and not self.delivery.failure and self.delivery.in_flight < _IN_FLIGHT:
            records = self._ring.read(RECORDS_A_BATCH, after=self.delivery.next)
            last = self.delivery.next + len(records) == self._ring.producer
            self.is_closed = self._hand_over(publisher, records, facts=facts(), closed=last) and last
        return self.is_closed and not self.delivery.in_flight

    def settle(self) -> None:
        """Let the ring have the room of what is acknowledged."""
        if self.delivery.acknowledged != self._released:
            self._ring.release(self.delivery.acknowledged)
            self._released = self.delivery.acknowledged

    def rewind(self) -> None:
        """Begin again, for a new producer, with the first record that is not acknowledged."""
        self.delivery.rewind()
        self.is_closed = False

    @property
    def capacity(self) -> int:
        """Records the ring has room for."""
        return self._ring.capacity

    @property
    def sent(self) -> int:
        """Records acknowledged since this process began with the ring."""
        return self.delivery.acknowledged - self._began

    @property
    def unacknowledged(self) -> int:
        """Records in the ring that may not have arrived."""
        return self._ring.producer - self.delivery.acknowledged

    @property
    def waiting(self) -> int:
        """Records in the ring that are not handed over."""
        return self._ring.producer - self.delivery.next

    def _is_due(self, now_ns: int, *, is_swept: bool) -> bool:
        if self.delivery.in_flight >= _IN_FLIGHT:
            return False
        waiting = self.waiting
        return waiting >= RECORDS_A_BATCH or (is_swept and waiting > 0) or now_ns - self._last_sent_ns >= _SILENCE_NS

    def _hand_over(self, publisher: Publisher, records: Records, *, facts: Facts, closed: bool) -> bool:
        end = self.delivery.next + len(records)
        header = replace(
            self._identity,
            first=self.delivery.next,
            counting_since_ns=facts.counting_since_ns,
            exported_until_ns=max(0, self.exported_until.at(end) + facts.offset_ns),
            created_ns=facts.now_ns,
            held_packets=facts.held_packets,
            held_bytes=facts.held_bytes,
            closed=closed,
            node_addresses=facts.node_addresses,
            counters=facts.counters,
            totals=facts.totals,
        )
        columns = self._to_columns(records, facts.offset_ns)
        answer = self.delivery.hand_over(len(records))
        value = self._contract.write(columns, header)
        if not publisher.send(self.topic, value, key=header.node, schema=self._contract.version, on_delivery=answer):
            self.delivery.take_back(len(records))
            return False
        if end > self._learned:
            self._learn(columns.slice(max(self._learned - header.first, 0)))
            self._learned = end
        return True
