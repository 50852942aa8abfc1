"""Segmentation offload to exact counts: records equal what payload, segments and header lengths give, to the byte.

With offloads on a hook of TC sees super-packets of up to 64 KB, and native XDP, one cable further, sees the frames that
were made of them; between pods, and inside VXLAN at both uplinks.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.e2e.books import NOTHING, Sum, differences, table_of, totals_by_hook
from tests.e2e.collector_under_test import CollectorUnderTest
from tests.e2e.node_pair import Node, node_pair
from tests.e2e.transfer import Transferred, send_datagrams, transfer
from tests.integration.collector_world import Reader
from tests.integration.kafka_broker import embedded_broker

PAYLOAD = 20_000_000
LOSSY_PAYLOAD, ONE_IN = 4_000_000, 30
DATAGRAM, TOGETHER, TIMES = 1_300, 40, 100
ETHERNET, IPV4, IPV6, UDP, TCP_WITH_TIME_STAMP, SYN_MORE = 14, 20, 40, 8, 32, 8
VXLAN = ETHERNET + IPV4 + UDP + 8
UPLINKS = {1: "u0=tc", 2: "u0=xdp"}


class Way(NamedTuple):
    """From a pod to the other one."""

    client: int
    """The number of its node."""
    network: int
    is_ipv6: bool

    @property
    def address(self) -> str:
        """The server's."""
        other = 3 - self.client
        return f"fd{self.network}:{other}::2" if self.is_ipv6 else f"10.{self.network}.{other}.2"

    @property
    def datagram_port(self) -> int:
        """The server's; below all that a client may get, so that the rule for who is the client is right."""
        return 7_000 + WAYS.index(self)

    @property
    def is_tunnelled(self) -> bool:
        return self.network == 78

    def headers(self, interface: str, transport: int) -> int:
        """Bytes before the payload of a frame at an interface."""
        outer = VXLAN if self.is_tunnelled and interface == "u0" else 0
        return outer + ETHERNET + (IPV6 if self.is_ipv6 else IPV4) + transport

    def __str__(self) -> str:
        version, route = "IPv6" if self.is_ipv6 else "IPv4", "VXLAN" if self.is_tunnelled else "routed"
        return f"{version} {route} from node {self.client}"


WAYS = [Way(client, network, is_ipv6) for client in (1, 2) for network in (77, 78) for is_ipv6 in (False, True)]
WHERE = [(number, interface) for number in (1, 2) for interface in ("v0", "u0")]


class Observed(NamedTuple):
    """Traffic as its ends know it, and the records of both nodes."""

    transfers: Mapping[Way, Transferred]
    lossy: Mapping[Way, Transferred]
    """Behind the client's veth its node drops frames: super-packets are sent again."""
    records: Mapping[int, pa.Table]
    """By number of the node."""
    super_packets: Mapping[tuple[int, str, int], bool]
    """Whether the hook (node, interface, direction) saw fewer frames than packets."""


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """Everything on every way, with offloads as the kernel sets them: on."""
    directory = tmp_path_factory.mktemp("offloads")
    with ExitStack() as undo:
        kafka = undo.enter_context(embedded_broker())
        nodes = undo.enter_context(node_pair(directory / "net"))
        collectors = [
            CollectorUnderTest(node, kafka.bootstrap, directory, {"KNI_UPLINKS": UPLINKS[node.number]})
            for node in nodes
        ]
        for collector in collectors:
            undo.callback(collector.end)
            collector.launch()
        for collector in collectors:
            collector.wait_ready()
        for node in nodes:
            node.connect()
        transfers = {way: transfer(*ends(nodes, way), address=way.address, size=PAYLOAD) for way in WAYS}
        for way in WAYS:
            burst(nodes, way)
        lossy = {way: transfer_with_loss(nodes, way) for way in WAYS}
        for node, collector in zip(nodes, collectors, strict=True):
            node.disconnect()
            collector.stop()
        records: dict[int, pa.Table] = {}
        super_packets: dict[tuple[int, str, int], bool] = {}
        for node in nodes:
            reader = Reader(kafka.bootstrap, node.name)
            undo.callback(reader.close)
            (batches,) = reader.read().flows.values()
            totals = totals_by_hook(batches)
            assert differences(batches) == dict.fromkeys(totals, NOTHING)
            records[node.number] = table_of(batches)
            super_packets |= {(node.number, *hook): told["frames"] < told["packets"] for hook, told in totals.items()}
        yield Observed(transfers, lossy, records, super_packets)


def ends(nodes: tuple[Node, Node], way: Way) -> tuple[Path, Path]:
    """Namespaces of the client's and the server's pod."""
    return nodes[way.client - 1].pod, nodes[2 - way.client].pod


def burst(nodes: tuple[Node, Node], way: Way) -> None:
    client, server = ends(nodes, way)
    address = way.address, way.datagram_port
    send_datagrams(client, server, address=address, size=DATAGRAM, segments=TOGETHER, times=TIMES)


def transfer_with_loss(nodes: tuple[Node, Node], way: Way) -> Transferred:
    node = nodes[way.client - 1]
    drop = f"meta length > 2000 numgen inc mod {ONE_IN} 0 drop"
    node.rules(f"table inet lossy {{ chain forward {{ type filter hook forward priority 0; iif v0 {drop}; }}; }}")
    transferred = transfer(*ends(nodes, way), address=way.address, size=LOSSY_PAYLOAD)
    node.rules("delete table inet lossy")
    return transferred


def found(observed: Observed, where: tuple[int, str], *, protocol: int, port: int) -> pa.Table:
    """The records of one conversation at an interface of a node."""
    number, interface = where
    records = observed.records[number]
    wanted = pc.equal(records.column("interface").cast(pa.string()), interface)
    wanted = pc.and_(wanted, pc.equal(records.column("protocol"), pa.scalar(protocol, pa.uint8())))
    return records.filter(pc.and_(wanted, pc.equal(records.column("dst_port"), pa.scalar(port, pa.uint16()))))


def sum_of(records: pa.Table, prefix: str = "") -> Sum:
    return Sum(*(pc.sum(records.column(f"{prefix}{unit}")).as_py() for unit in ("packets", "bytes")))


@pytest.mark.parametrize("where", WHERE, ids=str)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_transfer_has_the_packets_and_bytes_that_its_ends_sent(
    observed: Observed, way: Way, where: tuple[int, str]
) -> None:
    sent = observed.transfers[way]
    headers = way.headers(where[1], TCP_WITH_TIME_STAMP)
    records = found(observed, where, protocol=6, port=sent.port)
    segments, acknowledgements = sent.segments.sent, sent.acknowledgements.sent
    assert sum_of(records) == Sum(segments, sent.payload_sent + segments * headers + SYN_MORE)
    assert sum_of(records, "reverse_") == Sum(acknowledgements, acknowledgements * headers + SYN_MORE)
    assert segments >= -(-PAYLOAD // sent.mss) + 2, "as many as the MSS asks for, SYN and an acknowledgement"
    assert pc.max(records.column("packet_bytes_max")).as_py() == sent.mss + headers
    assert set(records.column("vni").to_pylist()) == {42 if way.is_tunnelled and where[1] == "u0" else 0}


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_super_packets_that_are_sent_again_count_each_segment_again(observed: Observed, way: Way) -> None:
    sent = observed.lossy[way]
    records = found(observed, (way.client, "v0"), protocol=6, port=sent.port)
    headers = way.headers("v0", TCP_WITH_TIME_STAMP)
    assert sent.segments.retransmitted > 0
    assert sum_of(records) == Sum(sent.segments.sent, sent.payload_sent + sent.segments.sent * headers + SYN_MORE)
    assert pc.sum(records.column("retransmits")).as_py() == sent.segments.retransmitted


@pytest.mark.parametrize("where", WHERE, ids=str)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_datagrams_that_the_kernel_cuts_have_the_packets_and_bytes_that_were_asked_for(
    observed: Observed, way: Way, where: tuple[int, str]
) -> None:
    records = found(observed, where, protocol=17, port=way.datagram_port)
    count = TOGETHER * TIMES
    assert sum_of(records) == Sum(count, count * (DATAGRAM + way.headers(where[1], UDP)))
    assert sum_of(records, "reverse_") == NOTHING


def test_hooks_of_tc_saw_super_packets_and_xdp_saw_none(observed: Observed) -> None:
    assert observed.super_packets == {
        **{(number, interface, direction): True for number, interface in WHERE for direction in (0, 1)},
        (2, "u0", 0): False,
    }
