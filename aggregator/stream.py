"""Kafka's consumer group to messages in order, and intents back: the one file that knows Faust and aiokafka.

Faust does membership, rebalancing and fetching. It never commits here: its own offsets pass messages that are not
stored, so streams are read without acknowledgement and commits are ours, with the intent in their metadata. Four facts
shape this file (faust-streaming 0.15.3, aiokafka 0.14): `perform_seek` runs at every assignment, so the state of
partitions is rebuilt there, under one lock with the commits; aiokafka repeats a failed commit with whatever generation
it has by then, so a commit is sent once, in the generation that assigned the partition, or not at all; messages from
before a rebalance may still arrive behind it, out of turn; and an answer to joining that aiokafka does not expect ends
its part in the group for good, without another word, so here it joins again (the embedded cluster refuses members whose
request to synchronise comes behind the leader's).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import faust
import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.transport.drivers.aiokafka import Consumer as FaustConsumer
from faust.types import TP

from aggregator.group import Assigned, CommitRefusedError
from aggregator.intents import Offset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aiokafka import AIOKafkaConsumer

    from aggregator.group import Key, Listener

SESSION_SECONDS: Final = 10
HEARTBEAT_SECONDS: Final = 2
REJOIN_SECONDS: Final = 0.5
LEADER_SECONDS: Final = 0.2
"""So long the group's leader lets the other members synchronise first."""
BUFFERED_MESSAGES: Final = 64
FETCH_BYTES: Final = 4 << 20
FETCH_WAIT_MS: Final = 50
"""Faust hard-codes 1,500; the embedded cluster answers an empty fetch only then."""
NEVER_SECONDS: Final = 1e6

_log = structlog.get_logger()


class _Thread(AIOKafkaConsumerThread):
    """Faust's consumer thread; it also knows when the group last heard of this worker."""

    stream: Stream

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001  (no setting reaches it)
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001  (nothing public tells of heartbeats)
        beat, join = coordinator._do_heartbeat, coordinator._do_rejoin_group  # noqa: SLF001
        assign = coordinator._perform_assignment  # noqa: SLF001

        async def do_heartbeat() -> bool:
            started = self.stream.clock()
            is_alive: bool = await beat()
            if is_alive:
                self.stream.last_heartbeat = started
            return is_alive

        async def do_join(subscription: object) -> bool:
            try:
                return bool(await join(subscription))
            except KafkaError as error:
                _log.warning("joins the group again", problem=str(error))
                await asyncio.sleep(REJOIN_SECONDS)
                return False

        async def perform_assignment(*members: object) -> object:
            assigned = await assign(*members)
            await asyncio.sleep(LEADER_SECONDS)
            return assigned

        coordinator._do_heartbeat = do_heartbeat  # noqa: SLF001
        coordinator._perform_assignment = perform_assignment  # noqa: SLF001
        coordinator._do_rejoin_group = do_join  # noqa: SLF001

    async def read_committed(self) -> list[Assigned]:
        """All assigned partitions with what the group has committed for them; on this thread."""
        consumer = self._ensure_consumer()
        coordinator = consumer._coordinator  # noqa: SLF001  (public `committed` leaves the metadata out)
        partitions = sorted(consumer.assignment())
        generation = coordinator.generation
        found = await coordinator.fetch_committed_offsets(partitions)
        assigned = []
        for partition in partitions:
            known = found.get(partition)
            if known is None or known.offset < 0:
                offset = Offset(offset=await consumer.position(partition))
            else:
                offset = Offset(offset=known.offset, metadata=known.metadata)
            assigned.append(Assigned((partition.topic, partition.partition), generation, offset))
        return assigned

    async def commit_once(self, offsets: Mapping[Key, Offset], generation: int) -> None:
        """Commit in this generation, or raise; on this thread. Raises: CommitRefusedError."""
        consumer = self._ensure_consumer()
        coordinator = consumer._coordinator  # noqa: SLF001  (public `commit` repeats in a later generation)
        await coordinator.ensure_coordinator_known()
        if coordinator.generation != generation:
            raise CommitRefusedError(f"the group is at generation {coordinator.generation}, not {generation}")
        request = {TopicPartition(*key): OffsetAndMetadata(o.offset, o.metadata) for key, o in offsets.items()}
        try:
            await coordinator._do_commit_offsets(None, request)  # noqa: SLF001
        except KafkaError as error:
            raise CommitRefusedError(f"{type(error).__name__}: {error}") from error


class _Consumer(FaustConsumer):
    """Faust's consumer; each assignment ends in `Listener.on_assigned`."""

    stream: Stream
    _thread: _Thread

    def _new_consumer_thread(self) -> _Thread:
        thread = _Thread(self, loop=self.loop, beacon=self.beacon)
        thread.stream = self.stream
        return thread

    async def perform_seek(self) -> None:
        async with self.stream.lock:
            await super().perform_seek()
            self.stream.last_heartbeat = self.stream.clock()
            await self.stream.listener.on_assigned(await self._thread.call_thread(self._thread.read_committed))


class Stream:
    """This worker's part of the consumer group."""

    def __init__(
        self,
        bootstrap: str,
        group: str,
        *,
        topics: Iterable[str],
        listener: Listener,
        clock: Callable[[], float],
    ) -> None:
        """`clock`: monotonic seconds."""
        self.listener = listener
        self.clock = clock
        self.lock = asyncio.Lock()
        self.last_heartbeat = clock()
        self.app: Any = _new_app(bootstrap, group)
        self.app._create_directories = lambda: None  # noqa: SLF001  (for tables; it would be where this was started)
        self.app.transport.Consumer = type("_BoundConsumer", (_Consumer,), {"stream": self})
        channel = self.app.topic(*topics, value_type=bytes, value_serializer="raw", key_serializer="raw")
        self.app.agent(channel, concurrency=1, name="records")(self._read)
        self.app.on_partitions_revoked.connect(self._revoked, weak=False)

    async def start(self) -> None:
        """Join the group."""
        self.app.finalize()
        await self.app.start()

    async def stop(self) -> None:
        """Leave the group."""
        await self.app.stop()

    async def given_up(self) -> None:
        """Wait until Faust has stopped. Raises: what made it stop."""
        await self.app.wait_until_stopped()
        raise self.app.crash_reason or RuntimeError("Faust has stopped")

    def heartbeat_age(self) -> float:
        """Seconds since the group is known to have counted this worker in."""
        return self.clock() - self.last_heartbeat

    async def commit(self, offsets: Mapping[Key, Offset], generation: int) -> None:
        """State intents and advances. The caller holds the lock. Raises: CommitRefusedError."""
        await self._thread.call_thread(self._thread.commit_once, offsets, generation)
        now = self.clock()
        self._thread.tp_last_committed_at.update({TP(*key): now for key in offsets})

    async def reread(self) -> None:
        """Begin again at what is committed, as after an assignment. Raises: CommitRefusedError."""
        if self.app.rebalancing:
            return  # an assignment is about to come
        try:
            await self.app.consumer.perform_seek()
        except KafkaError as error:
            raise CommitRefusedError(f"{type(error).__name__}: {error}") from error

    async def seek(self, key: Key, offset: int) -> None:
        """Go on at an offset of an assigned partition."""
        await self.app.consumer.seek_wait({TP(*key): offset})

    async def earliest(self, keys: Iterable[Key]) -> dict[Key, int]:
        """The first offset that Kafka still has."""
        found = await self.app.consumer.earliest_offsets(*(TopicPartition(*key) for key in keys))
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    async def ends(self, keys: Iterable[Key]) -> dict[Key, int]:
        """Behind the last offset that Kafka has."""
        found = await self.app.consumer.highwaters(*(TopicPartition(*key) for key in keys))
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    def highwater(self, key: Key) -> int:
        """Behind the last offset, as the last fetch said; 0 before the first."""
        return int(self.app.consumer.highwater(TP(*key)) or 0)

    @property
    def _thread(self) -> _Thread:
        thread: _Thread = self.app.consumer._thread  # noqa: SLF001  (Faust's own way to its thread)
        return thread

    async def _read(self, stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            key = (message.topic, message.partition)
            await self.listener.on_message(key, offset=message.offset, value=event.value)

    async def _revoked(self, _app: faust.App, _revoked: set[TP], **_options: object) -> None:
        self.listener.on_revoked()


def _new_app(bootstrap: str, group: str) -> Any:
    return faust.App(
        group,
        broker=[f"aiokafka://{server.strip()}" for server in bootstrap.split(",")],
        env_prefix="KNI_FAUST_",  # without one, Faust takes settings from variables of any name that fits
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES,
        stream_buffer_maxsize=BUFFERED_MESSAGES,
        stream_wait_empty=False,
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=HEARTBEAT_SECONDS,
        broker_max_poll_interval=NEVER_SECONDS,  # while ClickHouse is away nothing is fetched, and nobody is dead
        broker_commit_interval=NEVER_SECONDS,
        stream_processing_timeout=NEVER_SECONDS,
        broker_commit_livelock_soft_timeout=NEVER_SECONDS,
    )
