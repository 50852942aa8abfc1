"""Frames that no socket would send to drop records: broken, fragmented, cut, shot, of an unknown protocol."""

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from collector.drop_layout import DropSizes
from collector.drop_rotation import CLASSES
from collector.namespace import run_inside
from tests.deadline import Eventually
from tests.kernel.drop_kernel import NFT_DROP, Drop, DropKernel, to_bytes
from tests.kernel.drop_world import DEVICE, FAR_V4, FAR_V6, NEAR_V4, NEAR_V6, World, world

FRAMES = 5
SOURCE, PORT = 50_000, 7005
DROP_ALL = "table {family} kd {{ chain c {{ type filter hook prerouting priority -450; {match} drop; }}; }}"
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 2, 0x1000, 0x4000


@pytest.fixture(scope="module")
def kernel() -> DropKernel:
    return DropKernel(DropSizes(entries=1024, namespaces=16, call_sites=256, ring_bytes=1 << 18))


@pytest.fixture(scope="module")
def cable() -> Iterator[World]:
    with world("f") as both:
        yield both


def send_frames(cable: World, payload: Packet, *, times: int = FRAMES) -> None:
    """Put frames on the cable as they are."""
    frame = bytes(Ether(src=cable.near.mac().hex(":"), dst=cable.far.mac().hex(":")) / payload)
    with cable.near.socket(socket.AF_PACKET, socket.SOCK_RAW) as sending:
        sending.bind((DEVICE, 0))
        for _ in range(times):
            sending.send(frame)


def ipv4(**fields: Any) -> Packet:
    return IP(src=NEAR_V4, dst=FAR_V4, **fields)


def ipv6(**fields: Any) -> Packet:
    return IPv6(src=NEAR_V6, dst=FAR_V6, **fields)


def udp(**fields: Any) -> Packet:
    return UDP(sport=SOURCE, dport=PORT, **fields) / b"payload"


def tcp(**fields: Any) -> Packet:
    return TCP(sport=SOURCE, dport=PORT, **fields)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (ipv4() / udp(chksum=1), Drop("UDP_CSUM", "__udp4_lib_rcv")),
        (ipv4() / tcp(chksum=1), Drop("TCP_CSUM", "tcp_v4_rcv")),
        (ipv4(chksum=1) / udp(), Drop("IP_CSUM", "ip_rcv_core")),
        (ipv4() / tcp(flags="S"), Drop("NO_SOCKET", "tcp_v4_rcv")),
        (ipv6() / udp(chksum=1), Drop("UDP_CSUM", "__udp6_lib_rcv")),
        (ipv6() / tcp(chksum=1), Drop("TCP_CSUM", "tcp_v6_rcv")),
        (ipv6() / tcp(flags="S"), Drop("NO_SOCKET", "tcp_v6_rcv")),
        (ipv6() / IPv6ExtHdrDestOpt() / udp(), Drop("NO_SOCKET", "__udp6_lib_rcv")),
    ],
    ids=lambda value: value.summary() if isinstance(value, Packet) else "",
)
def test_a_broken_or_unwanted_packet_has_its_ports_and_the_kernels_reason(
    kernel: DropKernel, cable: World, eventually: Eventually, *, frame: Packet, expected: Drop
) -> None:
    with kernel.watching(cable.far.inode):
        send_frames(cable, frame)
        address = FAR_V6 if frame.version == 6 else FAR_V4
        records = kernel.collect_until(eventually, address, port=PORT, packets=FRAMES)
    assert kernel.count(records) == {expected: FRAMES}
    assert set(records["src_port"].tolist()) == {SOURCE}


class Filed(NamedTuple):
    """Parts of the key."""

    protocol: int
    src_port: int
    dst_port: int
    tcp_flags: int = 0


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (ipv4() / ICMP(type=8), Filed(1, 8, 0)),
        (ipv4() / ICMP(type=0), Filed(1, 0, 8)),
        (ipv4() / ICMP(type=3, code=4), Filed(1, 3, 4)),
        (ipv6() / ICMPv6EchoRequest(), Filed(58, 128, 129)),
        (ipv6() / ICMPv6EchoReply(), Filed(58, 129, 128)),
        (ipv4() / tcp(flags="FA"), Filed(6, SOURCE, PORT, 0x11)),
        (ipv4(frag=10, proto=17) / Raw(bytes(40)), Filed(17, 0, 0)),
        (ipv4(flags="MF") / udp(), Filed(17, SOURCE, PORT)),
        (ipv4(proto=200) / Raw(bytes(40)), Filed(200, 0, 0)),
        (ipv4(options=[b"\x01" * 8]) / udp(), Filed(17, SOURCE, PORT)),
        (ipv6() / IPv6ExtHdrFragment(offset=0, m=1) / udp(), Filed(17, SOURCE, PORT)),
        (ipv6() / IPv6ExtHdrFragment(offset=9, nh=17) / Raw(bytes(40)), Filed(17, 0, 0)),
        (ipv4(proto=17, len=22) / Raw(b"ab"), Filed(17, 0, 0)),
    ],
    ids=[
        "echo request",
        "echo reply",
        "other ICMP",
        "ICMPv6 echo request",
        "ICMPv6 echo reply",
        "TCP with flags",
        "later fragment",
        "first fragment",
        "unknown protocol",
        "IPv4 with options",
        "first IPv6 fragment",
        "later IPv6 fragment",
        "cut in the ports",
    ],
)
def test_a_record_says_as_much_of_the_conversation_as_the_packet_does(
    kernel: DropKernel, cable: World, eventually: Eventually, *, frame: Packet, expected: Filed
) -> None:
    is_ipv6 = frame.version == 6
    source = f"ip6 saddr {NEAR_V6}" if is_ipv6 else f"ip saddr {NEAR_V4}"
    rules = DROP_ALL.format(family="ip6" if is_ipv6 else "ip", match=source)
    with cable.far.rules(rules), kernel.watching(cable.far.inode):
        send_frames(cable, frame)
        address = FAR_V6 if is_ipv6 else FAR_V4
        records = kernel.collect_until(eventually, address, port=expected.dst_port, packets=FRAMES)
    found = {Filed(*(int(record[field]) for field in Filed._fields)): int(record["packets"]) for record in records}
    assert found == {expected: FRAMES}
    assert kernel.count(records) == {NFT_DROP: FRAMES}
    assert {bytes(record["src_addr"]) for record in records} == {to_bytes(NEAR_V6 if is_ipv6 else NEAR_V4)}
    assert set(records["ip_version"].tolist()) == {6 if is_ipv6 else 4}


def test_what_is_not_ip_makes_no_record_and_is_counted(
    kernel: DropKernel, cable: World, eventually: Eventually
) -> None:
    not_ip = CLASSES.index("not_ip")
    with kernel.watching(cable.far.inode):
        before = int(kernel.rotation.totals().frames[not_ip])
        frame = bytes(Ether(src=cable.near.mac().hex(":"), dst=cable.far.mac().hex(":"), type=0x88B5)) + bytes(50)
        with cable.near.socket(socket.AF_PACKET, socket.SOCK_RAW) as sending:
            sending.bind((DEVICE, 0))
            for _ in range(FRAMES):
                sending.send(frame)
        eventually(lambda: int(kernel.rotation.totals().frames[not_ip]) - before >= FRAMES, within_seconds=5)
        found = int(kernel.rotation.totals().frames[not_ip]) - before
        held = kernel.rotation.held()
    assert found == FRAMES
    assert held.packets == 0


def test_a_super_packet_without_a_number_of_segments_is_counted_by_their_size(
    kernel: DropKernel, cable: World, eventually: Eventually
) -> None:
    """As a virtual machine's network card hands them over: a size of segments is given, their number is not."""
    segment, segments = 1400, 9
    rules = DROP_ALL.format(family="ip", match=f"tcp dport {PORT}")
    with cable.far.rules(rules), kernel.watching(cable.far.inode):
        tap = run_inside(cable.far.path, open_tap)
        try:
            cable.far.run("ip", "link", "set", "kdtap", "up")
            mac = cable.far.mac("kdtap").hex(":")
            packet = Ether(src="02:00:00:00:00:09", dst=mac) / ipv4() / tcp(flags="A") / bytes(segment * segments - 400)
            gso = struct.pack("<BBHHHH", 1, 1, 14 + 20 + 20, segment, 14 + 20, 16)
            os.write(tap, gso + bytes(packet))
            records = kernel.collect_until(eventually, FAR_V4, port=PORT, packets=segments)
        finally:
            os.close(tap)
    assert kernel.count(records) == {NFT_DROP: segments}


def open_tap() -> int:
    """Open a TAP device whose frames stand behind a struct virtio_net_hdr."""
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"kdtap", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    return tap
