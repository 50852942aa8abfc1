"""Settings to one running worker: what it needs is reached first, then it joins the group, and leaves it drained."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import threading
import uuid
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import structlog

from aggregator.app import TOPICS, Aggregator, Names, Sinks
from aggregator.health import HealthServer, ListenError, Progress
from aggregator.identity.identities import Identities
from aggregator.identity.kubernetes_api import ConfigurationError
from aggregator.identity.kubernetes_watch import WatchRefusedError, start_watch
from aggregator.identity.ranges import RangeSettings
from aggregator.inventory import to_node_addresses
from aggregator.kafka import Inventory, KafkaUnavailableError, Publisher, is_reachable, topic_ids
from aggregator.lead import TICK_SECONDS, Duties, lead
from aggregator.marks import read_marks
from aggregator.metrics import Metrics
from aggregator.outages import Outages
from aggregator.write import ClickHouse, ClickHouseUnavailableError, Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from aggregator.identity.kubernetes_watch import Watch
    from aggregator.identity.objects import Event
    from aggregator.settings import Settings

LEAVE_SECONDS: Final = 4.0
PRUNE_EVERY_NS: Final = 3600 * 10**9
KEEP_NS: Final = 24 * 3600 * 10**9
"""Leases that ended longer ago name no record any more."""
UNKNOWN_TABLE: Final = ("60", "81")
"""ClickHouse's codes for an unknown table and an unknown database."""


REFUSALS: Final = (
    ClickHouseUnavailableError,
    ConfigurationError,
    KafkaUnavailableError,
    OSError,
    ValueError,
    WatchRefusedError,
)
"""What a start can meet; each says what to do."""


class StartError(Exception):
    """What keeps the aggregator from starting, and what to do."""


class Clocks(NamedTuple):
    """Where time and chance come from."""

    now_ns: Callable[[], int]
    """Unix time."""
    monotonic: Callable[[], float]
    """Seconds."""
    random: Random


class WaitFor(Protocol):
    """Waits until a server answers. Raises: StartError."""

    def __call__(self, what: str, problem: Callable[[], str], *, where: str) -> None:
        """`problem` is empty when the server answers."""


class Worker(NamedTuple):
    """A worker and what it stands on."""

    aggregator: Aggregator
    identities: Identities
    clickhouse: ClickHouse
    publisher: Publisher
    inventory: Inventory
    metrics: Metrics
    outages: Outages
    watch: Watch | None
    clocks: Clocks
    drain_seconds: float


async def serve(settings: Settings, clocks: Clocks, *, wait_for: WaitFor) -> int:
    """Run one worker until SIGTERM or SIGINT; the exit status. Raises: StartError."""
    metrics, progress = Metrics(), Progress(now=clocks.monotonic())
    try:
        ranges = RangeSettings.parse(
            pod_cidrs=settings.pod_cidrs, service_cidrs=settings.service_cidrs, cidr_labels=settings.cidr_labels
        )
        health = HealthServer(settings.listen, metrics=metrics, progress=progress, clock=clocks.monotonic)
    except (ListenError, ValueError) as error:
        raise StartError(str(error)) from error
    try:
        return await _serve(settings, clocks, ranges=ranges, metrics=metrics, progress=progress, wait_for=wait_for)
    finally:
        health.close()


async def _serve(
    settings: Settings,
    clocks: Clocks,
    *,
    ranges: RangeSettings,
    metrics: Metrics,
    progress: Progress,
    wait_for: WaitFor,
) -> int:
    """Reach the servers, then run; waiting is visible at the doors. Raises: StartError."""
    clickhouse = ClickHouse(settings)
    wait_for("ClickHouse", partial(_clickhouse_problem, clickhouse), where=settings.clickhouse)
    wait_for("Kafka", partial(is_reachable, settings.kafka), where=settings.kafka)
    outages = Outages(metrics, progress, clock=clocks.monotonic)
    try:
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        watch = start_watch(
            settings.kubernetes, settings.kubeconfig, events=events, clock=clocks.now_ns, random=clocks.random
        )
        identities = Identities(ranges, is_watching=watch is not None)
        identities.load(clickhouse.query("SELECT * FROM identities FINAL"))
        ids = topic_ids(settings.kafka, TOPICS, new_id=uuid.uuid4().hex)
    except REFUSALS as error:
        raise StartError(str(error)) from error
    if watch:
        metrics.follow_watch(watch.tally.counts)
    writer = Writer(clickhouse, outages, clock=clocks.monotonic)
    publisher, inventory = Publisher(settings.kafka), Inventory(settings.kafka)
    sinks = Sinks(writer, publisher, partial(read_marks, clickhouse, observer=outages), outages, metrics, progress)
    aggregator = Aggregator(settings, sinks, names=Names(identities, events), topic_ids=ids)
    try:
        stands_on = (
            identities,
            clickhouse,
            publisher,
            inventory,
            metrics,
            outages,
            watch,
            clocks,
            settings.drain_seconds,
        )
        return await _run(Worker(aggregator, *stands_on))
    finally:
        inventory.close()
        if watch:
            watch.stop()


def _duties(worker: Worker) -> Duties:
    return Duties(
        is_leader=lambda: worker.aggregator.is_leader,
        identities=worker.identities,
        clickhouse=worker.clickhouse,
        publisher=worker.publisher,
        metrics=worker.metrics,
        now_ns=worker.clocks.now_ns,
    )


async def _run(worker: Worker) -> int:
    """From joining the group to leaving it."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await worker.aggregator.stream.start()
    duties = [asyncio.ensure_future(duty) for duty in (worker.aggregator.run(), lead(_duties(worker)), _tend(worker))]
    stopping = asyncio.ensure_future(_once(stop))
    lost = asyncio.ensure_future(worker.aggregator.stream.given_up())
    status = 1
    try:
        await asyncio.wait({*duties, stopping, lost}, return_when=asyncio.FIRST_COMPLETED)
        for duty in (*duties, lost):
            if duty.done():
                duty.result()
        status = await _drain(worker)
    except Exception:
        structlog.get_logger().exception("stops: this must not happen")
        raise
    finally:
        worker.aggregator.abandon()
        _end_within(LEAVE_SECONDS, status)
        for task in (*duties, stopping, lost):
            task.cancel()
        await worker.aggregator.stream.stop()
    return status


def _end_within(seconds: float, status: int) -> None:
    """End the process, if it has not ended by itself: threads that wait for a server are in the libraries' hands.

    Whatever they were doing is formed again by the next worker, as after any crash.
    """
    timer = threading.Timer(seconds, os._exit, (status,))
    timer.daemon = True
    timer.start()


async def _once(event: asyncio.Event) -> None:
    await event.wait()


async def _drain(worker: Worker) -> int:
    """Store what has come up to now; the exit status."""
    log = structlog.get_logger()
    log.info("drains")
    try:
        await asyncio.wait_for(worker.aggregator.drain(), worker.drain_seconds)
    except TimeoutError:
        log.error("stops before everything was stored: the next worker goes on where this one was")  # noqa: TRY400 - no traceback
        return 1
    log.info("stored everything")
    return 0


async def _tend(worker: Worker) -> None:
    """Report; learn nodes' addresses from the inventory, and forget leases that are long over."""
    pruned_ns = 0
    while True:
        worker.aggregator.report()
        now_ns = worker.clocks.now_ns()
        worker.outages.hear_watch(worker.watch.tally.troubles() if worker.watch else {})
        for value in await asyncio.to_thread(worker.inventory.read):
            if node := to_node_addresses(value):
                worker.identities.learn_inventory(node.node, node.packed, observed_ns=now_ns)
        if now_ns - pruned_ns > PRUNE_EVERY_NS:
            worker.identities.prune(now_ns - KEEP_NS)
            pruned_ns = now_ns
        await asyncio.sleep(TICK_SECONDS)


def _clickhouse_problem(clickhouse: ClickHouse) -> str:
    """Empty when the tables are there."""
    try:
        clickhouse.query("SELECT topic FROM ingest_log LIMIT 0")
    except ClickHouseUnavailableError as error:
        if error.code in UNKNOWN_TABLE:
            raise StartError("ClickHouse has no tables yet: run `python -m aggregator schema`") from error
        return error.detail
    return ""
