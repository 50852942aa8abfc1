"""Kafka to ClickHouse: decode → identify → fold → write, each range of messages exactly once in effect.

One loop takes what has come on each partition and, when every record has a name or has waited long enough for one,
states the range in Kafka, then stores it block by block. Whatever goes wrong in between, the range keeps its name:
whoever has the partition then forms the same range again, and ClickHouse knows its blocks.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from aggregator.assemble import Range, blocks, identify
from aggregator.decode import decode
from aggregator.group import CommitRefusedError
from aggregator.intents import Offset
from aggregator.kafka import DeadLetter, KafkaUnavailableError
from aggregator.partitions import Partitions
from aggregator.stream import SESSION_SECONDS, Stream
from aggregator.write import AbandonedError
from schemas import topics

if TYPE_CHECKING:
    import queue
    from collections.abc import Callable, Mapping

    from aggregator.decode import Mark, Message, Ring
    from aggregator.group import Key
    from aggregator.health import Progress
    from aggregator.identity.identities import Identities
    from aggregator.identity.objects import Event
    from aggregator.intents import Partition
    from aggregator.kafka import Publisher
    from aggregator.metrics import Metrics
    from aggregator.outages import Outages
    from aggregator.settings import Settings
    from aggregator.write import Writer

Answer = TypeVar("Answer")

TOPICS: Final = (topics.FLOWS, topics.DROPS)
LEADERS_PARTITION: Final = (topics.FLOWS, 0)
"""Whose worker is the leader."""
WRITERS: Final = 2


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
        self._partitions = Partitions(topic_ids, sinks.metrics, now_ns=time.time_ns)
        self._has_moved = asyncio.Event()
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(WRITERS, "range")
        self.stream = Stream(
            settings.kafka, settings.group, topics=TOPICS, listener=self._partitions, clock=time.monotonic
        )
        self._partitions.stream = self.stream

    @property
    def is_leader(self) -> bool:
        """Whether this worker publishes windows and identities."""
        return self._partitions.holds(LEADERS_PARTITION)

    async def run(self) -> None:
        """Store what comes, for ever."""
        due = time.monotonic()
        while True:
            due = max(due + self._settings.flush_seconds, time.monotonic())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._partitions.is_full.wait(), due - time.monotonic())
            await self.flush()

    async def flush(self) -> None:
        """Store each partition whose range is ready, whole."""
        while not self._names.events.empty():
            self._names.identities.apply(self._names.events.get())
        if not self._names.identities.ready:
            self._sinks.outages.is_away("Kubernetes", problem="the first lists are not complete")
            return
        self._sinks.outages.is_back("Kubernetes")
        try:
            if self._partitions.must_reread:
                await self.stream.reread()
            ready = [found for key, partition in self._partitions.all() if (found := await self._next(key, partition))]
            await self._state_intents(ready)
            await asyncio.gather(*(self._store(stated) for stated in ready))
        except CommitRefusedError:
            self._sinks.metrics.refused.inc()
            self._partitions.forget()
        except AbandonedError:
            pass  # the partitions are somebody else's, or will be read back
        self._partitions.make_room()
        self._has_moved.set()

    async def _next(self, key: Key, partition: Partition) -> Ready | None:
        """A partition's next range, or none while there is nothing, or while it waits for a name."""
        messages = partition.next_range()
        if not messages:
            return None
        check = partial(self._check, partition)
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
            if not all(self._partitions.has(r.partition) for r in ready):
                raise AbandonedError
            offsets = {r.key: r.partition.to_intent(r.found.span) for r in ready}
            idle = {k: p for k, p in self._partitions.all() if k not in offsets and p.must_advance}
            offsets |= {key: Offset(partition.stored) for key, partition in idle.items()}
            if offsets:
                generation = (*(r.partition for r in ready), *idle.values())[0].generation
                await self.stream.commit(offsets, generation)
            for r in ready:
                r.partition.intended = r.found.span.last
            for partition in idle.values():
                partition.committed = partition.stored

    async def _store(self, ready: Ready) -> None:
        """Write a stated range and take it as stored, if it is still ours; else whoever has it forms it again."""
        try:
            await self._in_thread(partial(self._write, ready))
        except AbandonedError:
            return
        except KafkaUnavailableError as error:
            self._sinks.outages.is_away("Kafka", problem=str(error))
            return
        if self._partitions.has(ready.partition):
            ready.partition.advance(ready.messages, ready.found.decoded.marks)
            self._sinks.metrics.stored(ready.found)
            self._sinks.progress.moved(time.monotonic())

    def _write(self, ready: Ready) -> None:
        """Everything a range leaves behind; in a thread of its own. Raises: AbandonedError."""
        check = partial(self._check, ready.partition)
        place, unreadable = ready.found.place, ready.found.decoded.unreadable
        if unreadable:
            letters = [
                DeadLetter(message.value, reason, place.topic, place.partition, message.offset)
                for message, reason, _ in unreadable
            ]
            self._sinks.publisher.set_aside(letters, check=check)
        self._sinks.writer.write(blocks(ready.found), check=check, pause=self._stopping.wait)

    def _check(self, partition: Partition) -> None:
        """Raises: AbandonedError when this worker may no longer write for this partition."""
        is_ours = self._partitions.has(partition) and self.stream.heartbeat_age() <= SESSION_SECONDS
        if not is_ours or self._stopping.is_set():
            raise AbandonedError

    async def drain(self) -> None:
        """Store everything up to the end offsets of now."""
        ends = await self.stream.ends([key for key, _ in self._partitions.all()])
        while any(p.stored < ends.get(key, 0) for key, p in self._partitions.all()):
            self._partitions.is_full.set()
            await self._has_moved.wait()
            self._has_moved.clear()

    def abandon(self) -> None:
        """Write nothing any more."""
        self._stopping.set()

    def report(self) -> None:
        """Say where each partition is, and whether Kafka answers; every second, also while the loop waits for Kafka."""
        for (topic, number), partition in self._partitions.all():
            lag = self.stream.highwater((topic, number)) - partition.stored
            self._sinks.metrics.lag.labels(topic, number).set(max(lag, 0))
            self._sinks.metrics.stored_offset.labels(topic, number).set(partition.stored)
            if lag <= 0:
                self._sinks.progress.moved(time.monotonic())
        self._sinks.metrics.held_bytes.set(self._partitions.held_bytes())
        if self.stream.heartbeat_age() > SESSION_SECONDS:
            self._sinks.outages.is_away("Kafka", problem="no heartbeat was answered")
        else:
            self._sinks.outages.is_back("Kafka")

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
