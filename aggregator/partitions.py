"""What the consumer group says to the partitions of this worker, and the messages they hold.

Partitions are made anew at every assignment and dropped at every revocation: whoever still works on an old one finds
out by asking `has`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aggregator.accounts import Place
from aggregator.decode import Message
from aggregator.intents import Partition, intended_last

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aggregator.group import Assigned, Key
    from aggregator.metrics import Metrics
    from aggregator.stream import Stream

FLUSH_BYTES: Final = 64 << 20
"""So much is worth an insert at once: the larger a block, the less ClickHouse spends on it and on merging it."""
HELD_BYTES: Final = 80 << 20
"""More is not fetched."""


class Partitions:
    """The partitions of now; the stream's listener."""

    stream: Stream

    def __init__(self, topic_ids: Mapping[str, str], metrics: Metrics, *, now_ns: Callable[[], int]) -> None:
        """`topic_ids`: which life of each topic this is."""
        self._topic_ids = topic_ids
        self._metrics = metrics
        self._now_ns = now_ns
        self._partitions: dict[Key, Partition] = {}
        self._has_room = asyncio.Event()
        self.is_full = asyncio.Event()
        self.must_reread = False
        """What the group has committed is not known for certain: nothing may be written before it was read back."""

    def all(self) -> list[tuple[Key, Partition]]:
        """All partitions of now."""
        return list(self._partitions.items())

    def has(self, partition: Partition) -> bool:
        """Whether this one is still ours; also from other threads."""
        return self._partitions.get((partition.place.topic, partition.place.partition)) is partition

    def holds(self, key: Key) -> bool:
        """Whether this worker has a partition by this name."""
        return key in self._partitions

    def forget(self) -> None:
        """Nobody knows whether the last commit was made: begin again at what is committed."""
        self._partitions, self.must_reread = {}, True

    def make_room(self) -> None:
        """What was held has been stored."""
        self.is_full.clear()
        self._has_room.set()

    def held_bytes(self) -> int:
        """How much waits to be stored."""
        return sum(partition.held_bytes for partition in self._partitions.values())

    async def on_assigned(self, assigned: Iterable[Assigned]) -> None:
        """Begin each partition at what the group has committed; runs under the stream's lock."""
        partitions = {}
        for key, generation, committed in assigned:
            place = Place(key[0], self._topic_ids[key[0]], key[1])
            intended = intended_last(committed, place.topic_id)
            known = -1 if committed.metadata else committed.offset
            partitions[key] = Partition(place, committed.offset, generation, intended=intended, committed=known)
            self._metrics.reforms.labels(key[0]).inc(intended is not None)
        self._partitions, self.must_reread = partitions, False
        self._has_room.set()
        self._metrics.assignments.inc()

    def on_revoked(self) -> None:
        """Whatever is being written is no longer ours to finish."""
        self._partitions = {}
        self._has_room.set()

    async def on_message(self, key: Key, *, offset: int, value: bytes) -> None:
        """Hold a message; waits while too much is held."""
        partition = self._partitions.get(key)
        if partition is None:
            return
        if not partition.take(Message(offset, value, self._now_ns())):
            if offset > partition.expected:
                await self._find_place(key, partition)
            return
        if self.held_bytes() > FLUSH_BYTES:
            self.is_full.set()
        while self.held_bytes() > HELD_BYTES:
            self._has_room.clear()
            await self._has_room.wait()

    async def _find_place(self, key: Key, partition: Partition) -> None:
        """A message out of turn: go back to the one expected, or count what Kafka has forgotten."""
        earliest = (await self.stream.earliest([key]))[key]
        self._metrics.lost.labels(key[0]).inc(partition.skip_to(earliest))
        if self.has(partition):
            await self.stream.seek(key, partition.expected)
