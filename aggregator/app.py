"""Kafka to ClickHouse: decode → identify → fold → write, each range of messages exactly once in effect.

One loop takes what has come on each partition and, when every record has a name or has waited long enough for one,
states the range in Kafka, then stores it block by block. Whatever goes wrong in between, the range keeps its name:
whoever has the partition then forms the same range again, and ClickHouse knows its blocks.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from aggregator.accounts import Place
from aggregator.assemble import Range, blocks, identify
from aggregator.decode import Message, decode
from aggregator.intents import Offset, Partition, intended_last
from aggregator.kafka import DeadLetter
from aggregator.stream import SESSION_SECONDS, CommitRefusedError, Stream
from aggregator.write import AbandonedError
from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aggregator.decode import Mark, Ring
    from aggregator.health import Progress
    from aggregator.identities import Identities
    from aggregator.kafka import Publisher
    from aggregator.metrics import Metrics
    from aggregator.objects import Event
    from aggregator.outages import Outages
    from aggregator.settings import Settings
    from aggregator.stream import Assigned, Key
    from aggregator.write import Writer

Answer = TypeVar("Answer")

TOPICS: Final = (topics.FLOWS, topics.DROPS)
LEADERS_PARTITION: Final = (topics.FLOWS, 0)
"""Whose worker is the leader."""
FLUSH_BYTES: Final = 32 << 20
HELD_BYTES: Final = 48 << 20
"""More is not fetched."""
WRITERS: Final = 2
DRAIN_POLL_SECONDS: Final = 0.05


class Sinks(NamedTuple):
    """Where ranges go, and who hears of it."""

    writer: Writer
    publisher: Publisher
    read_marks: Callable[..., dict[Ring, Mark]]
    outages: Outages
    metrics: Metrics
    progress: Progress


class Names(NamedTuple):
    """Who held which address, and what the watch has seen since."""

    identities: Identities
    events: queue.SimpleQueue[Event]


class Ready(NamedTuple):
    """A range that can be stored, with the messages it was made of."""

    key: Key
    partition: Partition
    messages: list[Message]
    found: Range


class Aggregator:
    """One worker: the partitions that the group has given to it, and the loop that stores them."""

    def __init__(self, settings: Settings, sinks: Sinks, *, names: Names, topic_ids: Mapping[str, str]) -> None:
        self._settings = settings
        self._sinks = sinks
        self._names = names
        self._topic_ids = topic_ids
        self._partitions: dict[Key, Partition] = {}
        self._must_reread = False
        self._is_full, self._has_room = asyncio.Event(), asyncio.Event()
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(WRITERS, "range")
        self.stream = Stream(settings.kafka, settings.group, topics=TOPICS, listener=self, clock=time.monotonic)

    @property
    def is_leader(self) -> bool:
        """Whether this worker publishes windows and identities."""
        return LEADERS_PARTITION in self._partitions

    # What the group and the topics say

    async def on_assigned(self, assigned: list[Assigned]) -> None:
        """Begin each partition at what the group has committed; runs under the stream's lock."""
        self._partitions = {}
        for key, generation, committed in assigned:
            place = Place(key[0], self._topic_ids[key[0]], key[1])
            intended = intended_last(committed, place.topic_id)
            known = -1 if committed.metadata else committed.offset
            self._partitions[key] = Partition(place, committed.offset, generation, intended=intended, committed=known)
        self._must_reread = False
        self._has_room.set()
        self._sinks.metrics.assignments.inc()

    def on_revoked(self) -> None:
        """Whatever is being written is no longer ours to finish."""
        self._partitions = {}
        self._has_room.set()

    async def on_message(self, key: Key, *, offset: int, value: bytes) -> None:
        """Hold a message; waits while too much is held."""
        partition = self._partitions.get(key)
        if partition is None:
            return
        if not partition.take(Message(offset, value or b"", time.time_ns())):
            if offset > partition.expected:
                await self._find_place(key, partition)
            return
        if self._held_bytes() > FLUSH_BYTES:
            self._is_full.set()
        while self._held_bytes() > HELD_BYTES:
            self._has_room.clear()
            await self._has_room.wait()

    async def _find_place(self, key: Key, partition: Partition) -> None:
        """A message out of turn: go back to the one expected, or count what Kafka has forgotten."""
        earliest = (await self.stream.earliest([key]))[key]
        self._sinks.metrics.lost.labels(key[0]).inc(partition.skip_to(earliest))
        if self._partitions.get(key) is partition:
            await self.stream.seek(key, partition.expected)

    # The loop

    async def run(self) -> None:
        """Store what comes, for ever."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_full.wait(), self._settings.flush_seconds)
            await self.flush()

    async def flush(self) -> None:
        """Store each partition whose range is ready, whole."""
        while not self._names.events.empty():
            self._names.identities.apply(self._names.events.get())
        if not self._names.identities.ready:
            self._sinks.outages.is_away("Kubernetes", "the first lists are not complete")
            return
        self._sinks.outages.is_back("Kubernetes")
        try:
            if self._must_reread:
                await self.stream.reread()
            ready = [
                found for key, partition in self._partitions.items() if (found := await self._next(key, partition))
            ]
            await self._state_intents(ready)
            await asyncio.gather(*(self._store(stated) for stated in ready))
        except CommitRefusedError:
            self._sinks.metrics.refused.inc()
            self._partitions, self._must_reread = {}, True
        except AbandonedError:
            pass  # the partitions are somebody else's, or will be read back
        self._is_full.clear()
        self._has_room.set()
        self._report()

    async def _next(self, key: Key, partition: Partition) -> Ready | None:
        """A partition's next range, or none while there is nothing, or while it waits for a name."""
        messages = partition.next_range()
        if not messages:
            return None
        check = partial(self._check, key, partition)
        if partition.marks is None:
            read = partial(self._sinks.read_marks, partition.place, check=check, pause=self._stopping.wait)
            partition.marks = await self._in_thread(read)
        now_ns, span = time.time_ns(), partition.span(messages)
        decoded = await self._in_thread(
            partial(decode, partition.place.topic, messages, marks=partition.marks, now_ns=now_ns)
        )
        for link in decoded.links:
            self._names.identities.learn_inventory(link.header.node, link.header.node_addresses, observed_ns=now_ns)
        snapshot = self._names.identities.snapshot()
        found = await self._in_thread(
            partial(identify, partition.place, span, decoded=decoded, snapshot=snapshot, now_ns=now_ns)
        )
        since = found.waiting_since_ns
        if since is not None and now_ns - since < self._settings.grace_seconds * 1e9:
            return None
        return Ready(key, partition, messages, found)

    async def _state_intents(self, ready: list[Ready]) -> None:
        """State in Kafka which ranges are written next, and where idle partitions are.

        Raises: CommitRefusedError; AbandonedError when the partitions have changed hands meanwhile.
        """
        async with self.stream.lock:
            if any(self._partitions.get(r.key) is not r.partition for r in ready):
                raise AbandonedError
            offsets = {r.key: r.partition.to_intent(r.found.span) for r in ready}
            idle = {k: p for k, p in self._partitions.items() if k not in offsets and p.must_advance}
            offsets |= {key: Offset(partition.stored) for key, partition in idle.items()}
            if offsets:
                await self.stream.commit(offsets, next(iter(self._partitions.values())).generation)
            for r in ready:
                r.partition.intended = r.found.span.last
            for partition in idle.values():
                partition.committed = partition.stored

    async def _store(self, ready: Ready) -> None:
        """Write a stated range, and take it as stored if it is still ours."""
        await self._in_thread(partial(self._write, ready))
        if self._partitions.get(ready.key) is ready.partition:
            ready.partition.advance(ready.messages, ready.found.decoded.marks)
            self._sinks.metrics.stored(ready.found)
            self._sinks.progress.moved(time.monotonic())

    def _write(self, ready: Ready) -> None:
        """Everything a range leaves behind; in a thread of its own. Raises: AbandonedError."""
        check = partial(self._check, ready.key, ready.partition)
        place, unreadable = ready.found.place, ready.found.decoded.unreadable
        if unreadable:
            letters = [
                DeadLetter(message.value, reason, place.topic, place.partition, message.offset)
                for message, reason, _ in unreadable
            ]
            self._sinks.publisher.set_aside(letters, check=check)
        self._sinks.writer.write(blocks(ready.found), check=check, pause=self._stopping.wait)

    def _check(self, key: Key, partition: Partition) -> None:
        """Raises: AbandonedError when this worker may no longer write for this partition."""
        is_ours = self._partitions.get(key) is partition and self.stream.heartbeat_age() <= SESSION_SECONDS
        if not is_ours or self._stopping.is_set():
            raise AbandonedError

    async def drain(self) -> None:
        """Store everything up to the end offsets of now."""
        ends = await self.stream.ends(list(self._partitions))
        while any(p.stored < ends.get(key, 0) for key, p in self._partitions.items()):
            await asyncio.sleep(DRAIN_POLL_SECONDS)

    def abandon(self) -> None:
        """Write nothing any more."""
        self._stopping.set()

    def _report(self) -> None:
        for (topic, number), partition in self._partitions.items():
            lag = self.stream.highwater((topic, number)) - partition.stored
            self._sinks.metrics.lag.labels(topic, number).set(max(lag, 0))
            self._sinks.metrics.stored_offset.labels(topic, number).set(partition.stored)
            if lag <= 0:
                self._sinks.progress.moved(time.monotonic())
        self._sinks.metrics.held_bytes.set(self._held_bytes())
        if self.stream.heartbeat_age() > SESSION_SECONDS:
            self._sinks.outages.is_away("Kafka", "no heartbeat was answered")
        else:
            self._sinks.outages.is_back("Kafka")

    def _held_bytes(self) -> int:
        return sum(partition.held_bytes for partition in self._partitions.values())

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
