"""Frames that are not what they say to one outcome each: not IP, malformed, irregular, or what can still be read."""

import struct
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q
from scapy.packet import Raw

from collector.records import InterfaceKind, Outcome
from tests.kernel.flow_kernel import LOOPBACK, FlowKernel, Hook
from tests.kernel.frames import CLIENT, CLIENT_V6, SERVER, SERVER_V6, endpoints, frame, vxlan

SLOT = 7
V4 = IP(src=CLIENT, dst=SERVER)
V6 = IPv6(src=CLIENT_V6, dst=SERVER_V6)
DATA = Raw(b"x" * 40)
HOOKS = pytest.mark.parametrize("hook", [Hook.XDP, Hook.TC_IN])
A_TCP = TCP(sport=41_000, dport=8_080, flags="A")
A_UDP = UDP(sport=41_000, dport=53)
INNER = (IP(src="10.9.0.1", dst="10.9.0.2"), TCP(sport=41_000, dport=80, flags="S"))


@pytest.fixture(autouse=True)
def at_uplink(flows: FlowKernel) -> Iterator[None]:
    """Frames pass an uplink, and the table is empty before and after."""
    flows.watch(LOOPBACK, slot=SLOT, kind=InterfaceKind.UPLINK)
    flows.flush()
    yield
    flows.flush()


def corrupt(content: bytes, at: int, *values: int) -> bytes:
    changed = bytearray(content)
    changed[at : at + len(values)] = bytes(values)
    return bytes(changed)


TCP_FRAME = frame(V4, A_TCP, DATA)
V6_FRAME = frame(V6, A_TCP, DATA)


@HOOKS
@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        pytest.param(frame(ARP()), Outcome.NON_IP, id="ARP"),
        pytest.param(frame(Dot1Q(vlan=1), ARP()), Outcome.NON_IP, id="ARP behind a VLAN tag"),
        pytest.param(corrupt(TCP_FRAME, 12, 0x88, 0xCC), Outcome.NON_IP, id="LLDP"),
        pytest.param(corrupt(TCP_FRAME, 14, 0x55), Outcome.MALFORMED, id="IPv4 by ethertype, version 5"),
        pytest.param(corrupt(TCP_FRAME, 14, 0x44), Outcome.MALFORMED, id="IPv4 header of 16 bytes"),
        pytest.param(corrupt(TCP_FRAME, 16, 0, 19), Outcome.MALFORMED, id="IPv4 total length below the header's"),
        pytest.param(corrupt(V6_FRAME, 14, 0x40), Outcome.MALFORMED, id="IPv6 by ethertype, version 4"),
        pytest.param(
            frame(V6, IPv6ExtHdrDestOpt(len=200), Raw(bytes(40))), Outcome.MALFORMED, id="extension header past the end"
        ),
        pytest.param(TCP_FRAME[:36], Outcome.MALFORMED, id="cut before the ports are whole"),
        pytest.param(corrupt(TCP_FRAME[:34], 16, 0, 20), Outcome.MALFORMED, id="nothing behind the IP header"),
    ],
)
def test_what_has_no_conversation_is_counted_as_what_it_is(
    flows: FlowKernel, hook: Hook, content: bytes, outcome: Outcome
) -> None:
    before = flows.totals()[SLOT * 2]
    flows.send(content, hook)
    after = flows.totals()[SLOT * 2]
    expected = [0, 0, 0, 0]
    expected[outcome] = 1
    assert (after["frames"] - before["frames"]).tolist() == expected
    assert (after["packets"] - before["packets"]).tolist() == expected
    assert (after["bytes"] - before["bytes"]).tolist() == [len(content) * n for n in expected]
    assert len(flows.flush()) == 0


def test_a_frame_that_ends_in_its_ip_header_is_malformed(flows: FlowKernel) -> None:
    before = flows.totals()[SLOT * 2]
    flows.send(TCP_FRAME[:30], Hook.XDP)
    after = flows.totals()[SLOT * 2]
    assert (after["frames"] - before["frames"]).tolist() == [0, 0, 1, 0]


@HOOKS
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(corrupt(TCP_FRAME, 46, 0x40), id="data offset of 16 bytes"),
        pytest.param(corrupt(TCP_FRAME[:54], 46, 0xF0), id="data offset past the end"),
        pytest.param(corrupt(TCP_FRAME[:44], 16, 0, 30), id="ten bytes of TCP"),
    ],
)
def test_a_broken_tcp_header_with_ports_belongs_to_its_conversation_and_is_counted(
    flows: FlowKernel, hook: Hook, content: bytes
) -> None:
    before = flows.totals()[SLOT * 2]
    flows.send(content, hook)
    after = flows.totals()[SLOT * 2]
    (record,) = flows.flush()
    assert endpoints(record) == (CLIENT, 41_000, SERVER, 8_080, 6)
    assert record["tcp_flags"].tolist() == [0, 0]
    assert int(after["irregular_frames"] - before["irregular_frames"]) == 1
    assert (after["frames"] - before["frames"]).tolist() == [1, 0, 0, 0]


@HOOKS
def test_ethernet_padding_is_bytes_but_no_payload(flows: FlowKernel, hook: Hook) -> None:
    padded = frame(V4, TCP(sport=41_000, dport=8_080, flags="A", seq=5)) + bytes(6)
    flows.send(padded, hook)
    flows.send(padded, hook)
    (record,) = flows.flush()
    assert record["bytes"].tolist() == [120, 0]
    assert record["retransmits"].tolist() == [0, 0]


def test_a_total_length_of_zero_is_segmentation_offload(flows: FlowKernel) -> None:
    content = corrupt(frame(V4, TCP(sport=41_000, dport=8_080, flags="A", seq=5), DATA), 16, 0, 0)
    flows.send(content)
    flows.send(content)
    (record,) = flows.flush()
    assert record["retransmits"].tolist() == [1, 0], "so the payload is the frame's"


@HOOKS
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(vxlan(4789, *INNER, flags=0), id="without the VNI flag"),
        pytest.param(frame(V4, UDP(sport=55_555, dport=4789), Raw(b"\x08" + bytes(50))), id="no frame inside"),
        pytest.param(frame(V4, UDP(sport=55_555, dport=4789), Raw(b"\x08")), id="one byte"),
        pytest.param(vxlan(4789, *INNER)[:80], id="the inner header is cut"),
    ],
)
def test_what_only_looks_like_vxlan_stays_udp(flows: FlowKernel, hook: Hook, content: bytes) -> None:
    flows.send(content, hook)
    (record,) = flows.flush()
    assert endpoints(record) == (CLIENT, 55_555, SERVER, 4789, 17)
    assert int(record["vni"]) == 0


@pytest.mark.parametrize("seed", range(8))
def test_hostile_bytes_end_as_exactly_one_outcome(flows: FlowKernel, seed: int) -> None:
    before = flows.totals()[SLOT * 2].copy()
    sent = 0
    for content in mutations(seed):
        # A TC test-run refuses what has no whole IP header.
        flows.send(content, Hook.TC_IN if len(content) >= 54 and sent % 2 else Hook.XDP)
        sent += 1
    after = flows.totals()[SLOT * 2]
    assert int((after["frames"] - before["frames"]).sum()) == sent
    assert int(flows.flush()["packets"].sum()) == int(after["packets"][0] - before["packets"][0])


def mutations(seed: int) -> Iterator[bytes]:
    """Frames with random bytes overwritten, and cut anywhere."""
    state = seed * 7919 + 1
    for base in (TCP_FRAME, V6_FRAME, vxlan(4789, *INNER), frame(V6, IPv6ExtHdrHopByHop(), A_UDP, DATA)):
        for _ in range(60):
            state = (state * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
            where, value, length = struct.unpack("<HBxI", struct.pack("<Q", state))
            yield corrupt(base, 12 + where % (len(base) - 12), value)[: 24 + length % (len(base) - 23)]
