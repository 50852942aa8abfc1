"""Many nodes on one kernel, and many interfaces at once: each collector tells of its own, of all of it."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from collector.namespace import run_inside
from lab.commands import ask, configure
from tests.deadline import eventually
from tests.e2e.books import NOTHING, differences, table_of, totals_by_hook
from tests.e2e.collector_under_test import CollectorUnderTest
from tests.e2e.frames import Conversations, udp
from tests.e2e.node_pair import Node, node_pair
from tests.integration.collector_world import Reader, Topics
from tests.integration.kafka_broker import Broker, embedded_broker

CLOSED, FILTERED, OPEN = 7_001, 7_002, 7_003
SENT = {CLOSED: 311, FILTERED: 523, OPEN: 701}
"""Datagrams to each port of node 1's pod; node 2's pod gets `SHARE` times as many, and the host `HOST_DROPS`."""
SHARE = 3
HOST_DROPS = 997
VETHS = 200


@pytest.fixture
def kafka() -> Iterator[Broker]:
    with embedded_broker() as running:
        yield running


def sent_to(number: int) -> dict[int, int]:
    """Datagrams from the other node's pod to a node's pod, by port."""
    return {port: count * (1 if number == 1 else SHARE) for port, count in SENT.items()}


def send(
    place: Path | None,
    address: str,
    datagrams: dict[int, int],
    *,
    begin: threading.Barrier,
    receiver: socket.socket | None,
) -> None:
    """Datagrams from a namespace, turn by turn over the ports; the open one is the last and has the most.

    The next turn begins when its datagram arrived: no queue on the way ever overflows, whatever else the machine does.
    """
    with run_inside(place, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        begin.wait(20)
        for turn in range(max(datagrams.values())):
            for port, count in datagrams.items():
                if turn < count:
                    sender.sendto(bytes(100), (address, port))
            if receiver is not None:
                receiver.recv(200)


def filter_in_forwarding(node: Node) -> None:
    chain = f"type filter hook forward priority 0; udp dport {FILTERED} counter name filtered drop;"
    node.rules(f"table inet kf {{ counter filtered {{ }}; chain forward {{ {chain} }}; }}")


def listen(node: Node) -> socket.socket:
    """The pod's open port."""
    receiver = run_inside(node.pod, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    receiver.settimeout(20)
    receiver.bind(("0.0.0.0", OPEN))  # noqa: S104 - in a namespace of the test
    return receiver


def filtered(node: Node) -> int:
    """What nft counted."""
    (counter,) = (
        one for one in json.loads(ask(node.netns, "nft", "-j", "list", "counters"))["nftables"] if "counter" in one
    )
    return int(counter["counter"]["packets"])


def unused_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def only(records: pa.Table, **wanted: object) -> pa.Table:
    """Records with these values in these columns."""
    for name, value in wanted.items():
        column = records.column(name)
        column = column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        records = records.filter(pc.equal(column, pa.scalar(value, column.type)))
    return records


def by_port(records: pa.Table) -> dict[int, int]:
    """Packets by the destination's port."""
    ports, packets = records.column("dst_port").to_numpy(), records.column("packets").to_numpy()
    return {int(port): int(packets[ports == port].sum()) for port in np.unique(ports)}


def by_port_and_reason(drops: pa.Table) -> Counter[tuple[int, str]]:
    """Packets that were dropped of what was sent here; the kernel's own go elsewhere."""
    found: Counter[tuple[int, str]] = Counter()
    for row in drops.select(["dst_port", "reason", "packets"]).to_pylist():
        if row["dst_port"] in SENT:
            found[row["dst_port"], row["reason"]] += row["packets"]
    return found


def test_two_nodes_on_one_kernel_tell_of_their_own_flows_and_drops_exactly(kafka: Broker, tmp_path: Path) -> None:
    with ExitStack() as undo:
        nodes = undo.enter_context(node_pair(tmp_path / "net"))
        collectors = [CollectorUnderTest(node, kafka.bootstrap, tmp_path) for node in nodes]
        for collector in collectors:
            undo.callback(collector.end)
            collector.launch()
        for collector, node in zip(collectors, nodes, strict=True):
            collector.wait_ready()
            filter_in_forwarding(node)
        receivers = [undo.enter_context(listen(node)) for node in nodes]
        for node in nodes:
            node.connect()
        begin, host_port = threading.Barrier(3), unused_port()
        with ThreadPoolExecutor(3) as senders:
            sending = [
                senders.submit(send, nodes[1].pod, "10.77.1.2", sent_to(1), begin=begin, receiver=receivers[0]),
                senders.submit(send, nodes[0].pod, "10.77.2.2", sent_to(2), begin=begin, receiver=receivers[1]),
                senders.submit(send, None, "127.0.0.1", {host_port: HOST_DROPS}, begin=begin, receiver=None),
            ]
        for one in sending:
            one.result()
        for node, collector in zip(nodes, collectors, strict=True):
            node.disconnect()
            collector.stop()
        assert [left for collector in collectors for left in collector.left_behind()] == []
        for node in nodes:
            reader = Reader(kafka.bootstrap, node.name)
            undo.callback(reader.close)
            topics = reader.read()
            check_drops(node, topics, host_port=host_port)
            check_flows(node, topics)


def check_drops(node: Node, topics: Topics, *, host_port: int) -> None:
    """Closed is the port of a node's own pod; filtered is what its own pod sends."""
    (batches,) = topics.drops.values()
    told = batches[-1].header.counters
    assert told["lost_drops_map_full"] == told["lost_drops_missed"] == 0, (
        "the kernel skipped the program, or had no room"
    )
    drops = table_of(batches)
    assert told["attributed_packets"] == sum(drops.column("packets").to_pylist())
    assert by_port_and_reason(only(drops, protocol=17)) == {
        (CLOSED, "NO_SOCKET"): sent_to(node.number)[CLOSED],
        (FILTERED, "NETFILTER_DROP"): sent_to(node.other)[FILTERED],
    }
    assert filtered(node) == sent_to(node.other)[FILTERED]
    assert host_port not in by_port(drops)
    own = {path.stat().st_ino for path in (node.netns, node.pod)}
    assert set(drops.column("network_namespace").to_pylist()) == own


def check_flows(node: Node, topics: Topics) -> None:
    """What passed each interface, by what was sent to the node's pod and from it."""
    (batches,) = topics.flows.values()
    assert differences(batches) == dict.fromkeys(totals_by_hook(batches), NOTHING)
    assert {hook: told["frames"] for hook, told in totals_by_hook(batches).items()} == node.frames()
    flows = only(table_of(batches), protocol=17)
    pod = bytes(10) + b"\xff\xff" + socket.inet_aton(f"10.77.{node.number}.2")
    for interface in ("v0", "u0"):
        to_pod = only(flows, interface=interface, dst_addr=pod)
        from_pod = only(flows, interface=interface, src_addr=pod)
        assert by_port(to_pod) == passed(sent_to(node.number))
        assert by_port(from_pod) == (sent_to(node.other) if interface == "v0" else passed(sent_to(node.other)))


def passed(sent: dict[int, int]) -> dict[int, int]:
    """Without what the sender's node filters."""
    return {port: count for port, count in sent.items() if port != FILTERED}


def test_two_hundred_interfaces_made_at_once_are_counted_from_their_first_packet_on(
    kafka: Broker, tmp_path: Path
) -> None:
    with ExitStack() as undo:
        node, _ = undo.enter_context(node_pair(tmp_path / "net"))
        collector = CollectorUnderTest(node, kafka.bootstrap, tmp_path)
        undo.callback(collector.end)
        collector.start()
        names = [f"w{number}" for number in range(VETHS)]
        configure(node.netns, [f"link add {name} type veth peer name {name} netns {node.pod}" for name in names])
        eventually(lambda: hooks_of(collector) == hooks(names), within_seconds=20)
        for namespace in (node.netns, node.pod):
            configure(namespace, [f"link set {name} up" for name in names])
        one_frame_each(node, names)
        configure(node.netns, [f"link delete {name}" for name in names])
        eventually(lambda: hooks_of(collector) == set(), within_seconds=20)
        collector.stop()
        reader = Reader(kafka.bootstrap, node.name)
        undo.callback(reader.close)
        (batches,) = reader.read().flows.values()
    assert set(only(table_of(batches), dst_port=9).column("interface").to_pylist()) == set(names)
    assert by_port(only(table_of(batches), protocol=17))[9] == VETHS


def hooks(names: Sequence[str]) -> set[tuple[str, str]]:
    return {(name, direction) for name in names for direction in ("ingress", "egress")}


def hooks_of(collector: CollectorUnderTest) -> set[tuple[str, str]]:
    """What it says is attached, beside the two interfaces that were there."""
    found = {(row["name"], row["direction"]) for row in collector.status()["interfaces"]}
    return found - hooks(["v0", "u0"])


def one_frame_each(node: Node, names: Sequence[str]) -> None:
    """A datagram to each interface, from its other end."""
    cable = run_inside(node.pod, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    with cable:
        (frame,) = udp(b"\xff" * 6 + bytes(6) + b"\x08\0", Conversations.numbered(0, 1), payload=10)
        for name in names:
            cable.sendto(frame.tobytes(), (name, 0))
