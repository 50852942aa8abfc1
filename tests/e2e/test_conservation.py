"""The law of conservation at each interface: what hooks saw = records + held + not IP + malformed + lost, difference 0.

A real collector on real interfaces, read back from Kafka. What the hooks saw is held against the kernel's own
statistics of the interface, so that the totals can't be wrong together with the records.
"""

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from collector.namespace import run_inside
from collector.records import FLOW_RECORD
from lab.commands import in_namespace
from tests.deadline import Eventually, eventually
from tests.e2e.books import datagrams, held, reached, repeated, table_of, totals_by_hook
from tests.e2e.collector_under_test import CollectorUnderTest
from tests.e2e.frames import SYN, Conversations, Pour, Sender, tcp, udp
from tests.e2e.node_pair import Node
from tests.e2e.watched_node import Watched, watched_node
from tests.integration.kafka_broker import Broker, apache_broker, embedded_broker, renew_topics
from tests.programs import ENDS_WITH_TEST

NewWatched = Callable[..., Watched]
FLOOD = 150_000
RING_BYTES = 1 << 16
ICMP_ECHO = {
    socket.AF_INET: (socket.IPPROTO_ICMP, b"\x08\0\xf7\xff"),
    socket.AF_INET6: (socket.IPPROTO_ICMPV6, b"\x80\0\0\0"),
}


@pytest.fixture
def new_watched(tmp_path: Path) -> Iterator[NewWatched]:
    """Makes a watched node at a Kafka; it is gone at the end."""
    with ExitStack() as undo:
        yield lambda kafka, **settings: undo.enter_context(watched_node(kafka, tmp_path, **settings))


@contextmanager
def broker(name: str, directory: Path) -> Iterator[Broker]:
    if name == "embedded":
        with embedded_broker() as running:
            yield running
        return
    directory.mkdir()
    with apache_broker(directory) as running:
        renew_topics(running.bootstrap)
        yield running


@pytest.fixture
def kafka() -> Iterator[Broker]:
    with embedded_broker() as running:
        yield running


@contextmanager
def iperf3_server(node: Node) -> Iterator[None]:
    server = subprocess.Popen(
        (*ENDS_WITH_TEST, *in_namespace(node.pod, "iperf3", "--server")),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        server.terminate()
        server.wait(10)


def iperf3(node: Node, *arguments: str) -> bool:
    """Whether a transfer of half a second from a node's pod succeeds: not before the server listens."""
    command = in_namespace(node.pod, "iperf3", "--time", "1", "--client", *arguments)
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def pings(node: Node, family: socket.AddressFamily, address: str) -> None:
    """Twenty echoes, each answered."""
    protocol, header = ICMP_ECHO[family]
    with run_inside(node.pod, lambda: socket.socket(family, socket.SOCK_RAW, protocol)) as ping:
        ping.settimeout(10)
        for _ in range(20):
            ping.sendto(header + bytes(4), (address, 0))
            ping.recv(1000)


@pytest.mark.parametrize("server", ["embedded", "apache"])
def test_ordinary_traffic_is_in_the_records_to_the_last_byte_and_a_stop_leaves_nothing(
    new_watched: NewWatched, tmp_path: Path, server: str
) -> None:
    with broker(server, tmp_path / "kafka") as running:
        watched = new_watched(running)
        with iperf3_server(watched.other):
            for address in ("10.77.2.2", "fd77:2::2", "10.78.2.2", "fd78:2::2"):
                eventually(partial(iperf3, watched.node, address), within_seconds=20)
                assert iperf3(watched.node, address, "--udp", "--bitrate", "100M")
        pings(watched.node, socket.AF_INET, "10.77.2.2")
        pings(watched.node, socket.AF_INET6, "fd77:2::2")
        batches = watched.finish()
    records = table_of(batches)
    assert set(records.column("protocol").to_pylist()) >= {1, 6, 17, 58}
    assert set(records.column("ip_version").to_pylist()) == {4, 6}
    assert set(records.column("vni").to_pylist()) == {0, 42}
    assert all(told["accounted_packets"] > 1_000 for told in totals_by_hook(batches).values())


def test_a_flood_past_the_tables_size_loses_nothing_uncounted(new_watched: NewWatched, kafka: Broker) -> None:
    watched = new_watched(kafka, KNI_CONVERSATIONS="64", KNI_RING_BYTES=str(1 << 17))
    sender = Sender(watched.node)
    flood = tcp(sender.ethernet, Conversations.random(FLOOD, seed=7), flags=SYN)
    for part in np.array_split(flood, 30):
        sender.send(part)
        watched.batches()  # the embedded Kafka keeps the newest 5 MB
    sender.close()
    batches = watched.finish()
    totals = totals_by_hook(batches)["v0", 0]
    reasons = table_of(batches).column("flow_end_reason").to_numpy()
    assert totals["packets"] >= FLOOD
    assert totals["lost_packets"] > 0, "neither the table nor the ring has room for all"
    assert totals["accounted_packets"] > 224, "more than the table's places: what finds none is a record of one packet"
    assert (reasons == 5).sum() == batches[-1].header.counters["single_packet_records"] > 0


def test_a_reader_that_stalls_until_the_ring_is_full_costs_detail_and_no_packet(
    new_watched: NewWatched, kafka: Broker, eventually: Eventually
) -> None:
    # Connections end all the time, and with the ring full none leaves the table: it has room for minutes of them.
    watched = new_watched(kafka, KNI_RING_BYTES=str(RING_BYTES), KNI_CONVERSATIONS="16384")
    collector, sender = watched.collector, Sender(watched.node)
    steady = udp(sender.ethernet, Conversations.numbered(0, 400), payload=50)
    with Pour(sender, steady=steady) as pour:
        eventually(lambda: reached(watched.batches()) > 400, within_seconds=20)
        with kafka.away():
            is_full = lambda: collector.status()["counters"]["refused_exports"] > 100  # noqa: E731
            eventually(is_full, within_seconds=20)
            before = pour.datagrams
            eventually(lambda: pour.datagrams > before + 3 * 200 * 400, within_seconds=20)
            pour.stop()
            eventually(lambda: is_at_rest(collector), within_seconds=20)
            status = collector.status()
        sent = pour.datagrams
    flows = status["rings"][0]
    written = flows["records"] + flows["records_sent"]
    assert flows["records"] == (RING_BYTES - 1) // (FLOW_RECORD.itemsize + 8), "a ring never fills to its last byte"
    eventually(lambda: reached(watched.batches()) > written, within_seconds=20)
    assert status["held_packets"] > 0
    batches = watched.finish()
    sender.close()
    assert held(batches, before=written).packets == status["held_packets"]
    assert datagrams(batches, "v0", port=9) == datagrams(batches, "u0", port=9) == sent
    assert repeated(batches) == 0
    assert sum(told["lost_packets"] for told in totals_by_hook(batches).values()) == 0
    records = table_of(batches)
    spans = (records.column("time_end").to_numpy() - records.column("time_start").to_numpy()).astype("i8")
    assert spans.max() > 2 * 10**9, "records of the stall are coarser than the active timeout of 1 s"


def is_at_rest(collector: CollectorUnderTest) -> bool:
    """Nothing came in while a sweep and a half went by: two looks of it see the same."""
    first = collector.status()
    later = eventually(lambda: newer_tick(collector, first["now_ns"]), within_seconds=10)
    return bool(first["held_packets"] == later["held_packets"])


def newer_tick(collector: CollectorUnderTest, than_ns: int) -> dict[str, int]:
    """Its status, once half a second went by."""
    status = collector.status()
    return status if status["now_ns"] > than_ns + 5 * 10**8 else {}


def test_a_second_collector_is_refused_and_the_first_counts_on(new_watched: NewWatched, kafka: Broker) -> None:
    watched = new_watched(kafka)
    sender = Sender(watched.node)
    with Pour(sender, steady=udp(sender.ethernet, Conversations.numbered(0, 16), payload=50)) as pour:
        messages = [line for line in watched.collector.refusal().splitlines() if not line.startswith("{")]
    sender.close()
    assert len(messages) == 1
    assert messages[0].startswith(f"kubenetinsight collector: another collector of node {watched.node.name} holds ")
    assert "stop it first" in messages[0]
    batches = watched.finish()
    assert datagrams(batches, "v0", port=9) == pour.datagrams > 0
