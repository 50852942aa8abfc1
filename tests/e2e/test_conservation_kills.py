"""The law of conservation over SIGKILL: a collector is killed under traffic and started again; nothing lost or twice.

Nobody counts for it meanwhile but the kernel: what is sent while no collector runs is in the records like the rest.
"""

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from collector.bpf_syscall import map_entries, map_memory
from collector.records import BUCKET, FLOW_RECORD, WAYS, Tag
from collector.ring import Ring
from tests.deadline import Eventually
from tests.e2e.books import datagrams, reached, repeated, totals_by_hook
from tests.e2e.collector_under_test import CollectorUnderTest
from tests.e2e.frames import Conversations, Pour, Sender, udp
from tests.e2e.watched_node import Watched, watched_node
from tests.integration.kafka_broker import Broker, embedded_broker

KILLS = 20
WHILE_DOWN = 500
"""Datagrams at least that are sent while no collector runs."""


class InKernel(NamedTuple):
    """What stands in the kernel while no collector runs."""

    kept_from: int
    """Position of the first record that the ring keeps."""
    written: int
    gone: int
    """Places of the table that are marked and not emptied."""


def in_kernel(collector: CollectorUnderTest) -> InKernel:
    with collector.pins() as pins:
        ring = Ring(pins["flows_ring"], FLOW_RECORD)
        buckets = map_entries(pins["cold"]) // WAYS
        tags = np.frombuffer(map_memory(pins["table"], buckets * BUCKET.itemsize), BUCKET, buckets)["tag"]
        return InKernel(ring.position, ring.producer, int((tags[:, :WAYS] == Tag.GONE).sum()))


@pytest.fixture
def kafka() -> Iterator[Broker]:
    with embedded_broker() as running:
        yield running


@pytest.fixture
def watched(kafka: Broker, tmp_path: Path) -> Iterator[Watched]:
    with watched_node(kafka, tmp_path) as running:
        yield running


@pytest.fixture
def pour(watched: Watched) -> Iterator[Pour]:
    """Traffic, all the time."""
    sender = Sender(watched.node)
    with Pour(sender, steady=udp(sender.ethernet, Conversations.numbered(0, 16), payload=100)) as running:
        yield running
    sender.close()


def sends_more(pour: Pour, datagrams: int) -> Callable[[], bool]:
    goal = pour.datagrams + datagrams
    return lambda: pour.datagrams >= goal


def check_all_that_was_sent(watched: Watched, pour: Pour) -> None:
    """The law, and the generator's own numbers."""
    pour.stop()
    batches = watched.finish()
    assert datagrams(batches, "v0", port=9) == datagrams(batches, "u0", port=9) == pour.datagrams
    assert totals_by_hook(batches)["v0", 0]["packets"] >= pour.datagrams + 2 * pour.connections
    assert sum(told["lost_packets"] for told in totals_by_hook(batches).values()) == 0


Evidence = Callable[[InKernel, int, int], bool]
"""Says of what stands in the kernel, the position that Kafka has reached, and that before, that it was this point."""

POINTS: dict[str, Evidence] = {
    "before-sending": lambda kernel, arrived, before: kernel.kept_from == arrived == before < kernel.written,
    "before-callback": lambda kernel, arrived, before: kernel.kept_from < arrived > before,
    "before-position": lambda kernel, arrived, before: kernel.kept_from < arrived > before,
    "before-harvest": lambda kernel, arrived, before: kernel.gone > 0 and arrived >= before,
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_nothing_is_lost_and_nothing_is_there_twice(
    watched: Watched, pour: Pour, eventually: Eventually, point: str
) -> None:
    collector = watched.collector
    eventually(lambda: reached(watched.batches()) > 0, within_seconds=20)
    collector.kill()
    before = reached(watched.batches())
    collector.launch("tests.e2e.dying_collector", point)
    collector.wait_ended(-signal.SIGKILL)
    kernel, arrived = in_kernel(collector), reached(watched.batches())
    assert POINTS[point](kernel, arrived, before), (kernel, arrived, before)
    eventually(sends_more(pour, WHILE_DOWN), within_seconds=20)
    collector.start()
    eventually(lambda: reached(watched.batches()) > kernel.written, within_seconds=20)
    check_all_that_was_sent(watched, pour)
    assert repeated(watched.batches()) >= arrived - kernel.kept_from


def test_a_bug_ends_the_collector_so_that_somebody_starts_it_again(watched: Watched, pour: Pour) -> None:
    watched.collector.kill()
    watched.collector.launch("tests.e2e.dying_collector", "by-a-bug")
    watched.collector.wait_ended(1)
    assert watched.collector.log.read_text().rstrip().endswith("AssertionError: by a bug")
    watched.collector.start()
    check_all_that_was_sent(watched, pour)


def test_killed_with_kafka_away_the_ring_keeps_what_no_broker_has(
    watched: Watched, pour: Pour, kafka: Broker, eventually: Eventually
) -> None:
    collector = watched.collector
    eventually(lambda: reached(watched.batches()) > 0, within_seconds=20)
    with kafka.away():
        eventually(lambda: collector.status()["rings"][0]["batches_in_flight"] > 3, within_seconds=20)
        collector.kill()
        eventually(sends_more(pour, WHILE_DOWN), within_seconds=20)
        collector.start()
        eventually(lambda: collector.status()["rings"][0]["batches_in_flight"] > 3, within_seconds=20)
        kernel = in_kernel(collector)
        collector.kill()
    assert kernel.written > kernel.kept_from
    collector.start()
    eventually(lambda: reached(watched.batches()) > kernel.written, within_seconds=20)
    check_all_that_was_sent(watched, pour)


def test_killed_twenty_times_at_random_nothing_is_lost_and_nothing_is_there_twice(
    watched: Watched, pour: Pour, kafka: Broker, eventually: Eventually
) -> None:
    collector, chance = watched.collector, random.Random(5)
    found_gone = 0
    for kill in range(KILLS):
        with kafka.away() if kill % 4 == 3 else nullcontext():
            eventually(sends_more(pour, chance.randrange(16, 3_000)), within_seconds=20)
            collector.kill()
        kernel = in_kernel(collector)
        found_gone += kernel.gone > 0
        assert reached(watched.batches()) >= kernel.kept_from
        collector.start()
    check_all_that_was_sent(watched, pour)
    assert found_gone > 0, "no kill fell between mark and harvest"
