"""Frames to conversations: literal frames in, literal records out, the same at XDP and at TC."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import Dot1AD, Dot1Q
from scapy.packet import Raw

from collector.records import InterfaceKind
from tests.kernel.flow_kernel import LOOPBACK, FlowKernel, Hook
from tests.kernel.frames import CLIENT, CLIENT_V6, SERVER, SERVER_V6, endpoints, frame, to_text, vxlan

SLOT = 7
V4 = IP(src=CLIENT, dst=SERVER)
V6 = IPv6(src=CLIENT_V6, dst=SERVER_V6)
DATA = Raw(b"x" * 40)
HOOKS = pytest.mark.parametrize("hook", [Hook.XDP, Hook.TC_IN])


class Seen(NamedTuple):
    """What a record says of one packet."""

    src: str
    src_port: int
    dst: str
    dst_port: int
    protocol: int
    ip_version: int
    direction: int
    """0: the record's client sent it"""


TCP_V4 = Seen(CLIENT, 41_000, SERVER, 8_080, 6, 4, 0)
TCP_V6 = Seen(CLIENT_V6, 41_000, SERVER_V6, 8_080, 6, 6, 0)
UDP_V4 = Seen(CLIENT, 41_000, SERVER, 53, 17, 4, 0)
A_TCP = TCP(sport=41_000, dport=8_080, flags="A")
A_UDP = UDP(sport=41_000, dport=53)


@pytest.fixture(autouse=True)
def at_uplink(flows: FlowKernel) -> Iterator[None]:
    """Frames pass an uplink, and the table is empty before and after."""
    flows.watch(LOOPBACK, slot=SLOT, kind=InterfaceKind.UPLINK)
    flows.flush()
    yield
    flows.flush()


@HOOKS
@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        pytest.param((V4, A_TCP, DATA), TCP_V4, id="TCP over IPv4"),
        pytest.param((V4, A_UDP, DATA), UDP_V4, id="UDP over IPv4"),
        pytest.param((V6, A_TCP, DATA), TCP_V6, id="TCP over IPv6"),
        pytest.param((Dot1Q(vlan=5), V4, A_TCP), TCP_V4, id="one VLAN tag"),
        pytest.param((Dot1AD(vlan=5), Dot1Q(vlan=6), V6, A_TCP), TCP_V6, id="two VLAN tags"),
        pytest.param((IP(src=CLIENT, dst=SERVER, options=[IPOption_NOP()] * 9), A_TCP), TCP_V4, id="IPv4 options"),
        pytest.param((V6, IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), A_TCP), TCP_V6, id="IPv6 extension headers"),
        pytest.param(
            (V6, IPv6ExtHdrRouting(segleft=0), AH(nh=6, payloadlen=4, icv=bytes(12)), A_TCP),
            TCP_V6,
            id="routing, then AH",
        ),
        pytest.param((V6, IPv6ExtHdrFragment(id=9, m=0, offset=0), A_TCP), TCP_V6, id="an atomic fragment"),
        pytest.param(
            (IP(src=CLIENT, dst=SERVER, flags="MF"), A_UDP, DATA), UDP_V4, id="the first fragment has its ports"
        ),
        pytest.param(
            (IP(src=CLIENT, dst=SERVER, frag=8, proto=17), DATA),
            Seen(SERVER, 0, CLIENT, 0, 17, 4, 1),
            id="a later fragment pairs with port 0",
        ),
        pytest.param(
            (V6, IPv6ExtHdrFragment(nh=17, id=9, m=1, offset=8), DATA),
            Seen(SERVER_V6, 0, CLIENT_V6, 0, 17, 6, 1),
            id="a later IPv6 fragment pairs with port 0",
        ),
        pytest.param(
            (IP(src=CLIENT, dst=SERVER, proto=47), DATA),
            Seen(SERVER, 0, CLIENT, 0, 47, 4, 1),
            id="a protocol without ports",
        ),
        pytest.param((V4, ICMP(type=8)), Seen(CLIENT, 8, SERVER, 0, 1, 4, 0), id="echo request"),
        pytest.param((V4, ICMP(type=0)), Seen(SERVER, 8, CLIENT, 0, 1, 4, 1), id="echo reply: who asked is the client"),
        pytest.param((V6, ICMPv6EchoRequest()), Seen(CLIENT_V6, 128, SERVER_V6, 129, 58, 6, 0), id="echo request, v6"),
        pytest.param((V6, ICMPv6EchoReply()), Seen(SERVER_V6, 128, CLIENT_V6, 129, 58, 6, 1), id="echo reply, v6"),
        pytest.param((V4, ICMP(type=3, code=3)), Seen(CLIENT, 3, SERVER, 3, 1, 4, 0), id="ICMP: type and code"),
        pytest.param(
            (V4, TCP(sport=80, dport=41_000, flags="A")),
            Seen(SERVER, 41_000, CLIENT, 80, 6, 4, 1),
            id="without a SYN the higher port is the client",
        ),
        pytest.param(
            (V4, TCP(sport=80, dport=41_000, flags="S")),
            Seen(CLIENT, 80, SERVER, 41_000, 6, 4, 0),
            id="SYN: the client",
        ),
        pytest.param(
            (V4, TCP(sport=80, dport=41_000, flags="SA")),
            Seen(SERVER, 41_000, CLIENT, 80, 6, 4, 1),
            id="SYN/ACK: the server",
        ),
        pytest.param(
            (V4, UDP(sport=53, dport=53)),
            Seen(SERVER, 53, CLIENT, 53, 17, 4, 1),
            id="at equal ports the higher address is the client",
        ),
        pytest.param(
            (IPv6(src="::ffff:10.244.1.7", dst="::ffff:10.244.2.9"), A_TCP),
            TCP_V4._replace(ip_version=6),
            id="IPv4-mapped addresses in IPv6 stay IPv6",
        ),
    ],
)
def test_a_packet_belongs_to_its_conversation(
    flows: FlowKernel, hook: Hook, layers: tuple[Raw, ...], expected: Seen
) -> None:
    content = frame(*layers)
    flows.send(content, hook)
    (record,) = flows.flush()
    direction = int(record["packets"][1])
    assert Seen(*endpoints(record), int(record["ip_version"]), direction) == expected
    assert record["packets"].tolist() == [1 - direction, direction]
    assert int(record["bytes"].sum()) == len(content)
    assert record["packet_bytes_min"][direction] == record["packet_bytes_max"][direction] == len(content)


INNER = (IP(src="10.9.0.1", dst="10.9.0.2"), TCP(sport=41_000, dport=80, flags="S"))


@HOOKS
@pytest.mark.parametrize("port", [4789, 8472])
def test_vxlan_at_an_uplink_is_the_inner_conversation(flows: FlowKernel, hook: Hook, port: int) -> None:
    content = vxlan(port, *INNER)
    flows.send(content, hook)
    (record,) = flows.flush()
    assert endpoints(record) == ("10.9.0.1", 41_000, "10.9.0.2", 80, 6)
    assert (to_text(record["outer_src_addr"]), to_text(record["outer_dst_addr"])) == (CLIENT, SERVER)
    assert int(record["vni"]) == 42
    assert record["bytes"].tolist() == [len(content), 0]


def test_outer_addresses_follow_the_client(flows: FlowKernel) -> None:
    flows.send(vxlan(4789, IP(src="10.9.0.2", dst="10.9.0.1"), TCP(sport=80, dport=41_000, flags="A")))
    (record,) = flows.flush()
    assert endpoints(record)[:2] == ("10.9.0.1", 41_000)
    assert (to_text(record["outer_src_addr"]), to_text(record["outer_dst_addr"])) == (SERVER, CLIENT)


@HOOKS
def test_vxlan_at_a_pod_is_udp(flows: FlowKernel, hook: Hook) -> None:
    flows.watch(LOOPBACK, slot=SLOT, kind=InterfaceKind.POD)
    flows.send(vxlan(4789, *INNER), hook)
    (record,) = flows.flush()
    assert endpoints(record) == (CLIENT, 55_555, SERVER, 4789, 17)
    assert to_text(record["outer_src_addr"]) == "::"


def test_an_unknown_interface_counts_in_slot_zero_and_opens_no_tunnel(flows: FlowKernel) -> None:
    flows.watch(LOOPBACK + (1 << 16), slot=SLOT, kind=InterfaceKind.UPLINK)
    before = flows.totals()
    flows.send(vxlan(4789, *INNER))
    after = flows.totals()
    assert int(after["frames"][0][0] - before["frames"][0][0]) == 1
    assert (after["frames"][SLOT * 2] == before["frames"][SLOT * 2]).all()
    assert endpoints(flows.flush()[0]) == (CLIENT, 55_555, SERVER, 4789, 17)


def test_of_two_interfaces_with_equal_low_halves_the_second_is_found_in_the_hash(flows: FlowKernel) -> None:
    flows.watch(LOOPBACK + (1 << 16), slot=SLOT, kind=InterfaceKind.POD)
    flows.watch_crowded(LOOPBACK, slot=SLOT + 1, kind=InterfaceKind.UPLINK)
    before = flows.totals()
    flows.send(frame(V4, A_TCP, DATA))
    after = flows.totals()
    flows.forget_crowded(LOOPBACK)
    assert int(after["frames"][SLOT * 2 + 2][0] - before["frames"][SLOT * 2 + 2][0]) == 1
