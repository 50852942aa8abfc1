"""Packets that the kernel drops to records: reason, place and number are exactly what was generated."""

import socket
from collections.abc import Iterator

import pytest

from collector.drop_layout import DropSizes
from collector.netns_directory import Watched
from tests.deadline import Eventually
from tests.kernel.drop_kernel import NFT_DROP, NO_ROUTE_V6, Drop, DropKernel, packets_at
from tests.kernel.drop_world import (
    BEYOND_V4,
    BEYOND_V6,
    FAR_V4,
    FAR_V6,
    NOWHERE_V4,
    NOWHERE_V6,
    Namespace,
    World,
    world,
)

PACKETS = 7
PORT = 7004
UDP_SEGMENT = 103


@pytest.fixture(scope="module")
def kernel() -> DropKernel:
    return DropKernel(DropSizes(entries=1024, namespaces=16, call_sites=256, ring_bytes=1 << 18))


@pytest.fixture(scope="module")
def cable() -> Iterator[World]:
    with world("d") as both:
        yield both


def send_udp(sender: Namespace, address: str, *, port: int = PORT, payload: bytes = b"dropped", source: int = 0) -> int:
    """Send PACKETS datagrams; give the source port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with sender.socket(family, socket.SOCK_DGRAM) as sending:
        sending.bind(("::" if ":" in address else "0.0.0.0", source))  # noqa: S104
        for _ in range(PACKETS):
            try:
                sending.sendto(payload, (address, port))
            except PermissionError:  # nft tells the sender of its own drop
                continue
            except ConnectionRefusedError:  # an earlier datagram's answer
                sending.sendto(payload, (address, port))
        port_used: int = sending.getsockname()[1]
    return port_used


NFT = "table {family} kd {{ chain c {{ type filter hook {hook} priority 0; udp dport {port} drop; }}; }}"


@pytest.mark.parametrize(
    ("hook", "family", "address"),
    [
        ("input", "ip", FAR_V4),
        ("input", "ip6", FAR_V6),
        ("forward", "ip", BEYOND_V4),
        ("forward", "ip6", BEYOND_V6),
        ("prerouting", "inet", FAR_V4),
    ],
)
def test_a_packet_filter_where_packets_arrive_drops_them(
    kernel: DropKernel, cable: World, eventually: Eventually, *, hook: str, family: str, address: str
) -> None:
    rules = NFT.format(family=family, hook=hook, port=PORT)
    with cable.far.rules(rules), kernel.watching(cable.far.inode):
        source = send_udp(cable.near, address)
        records = kernel.collect_until(eventually, address, port=PORT, packets=PACKETS)
    assert kernel.count(records) == {NFT_DROP: PACKETS}
    assert set(records["src_port"].tolist()) == {source}
    assert set(records["netns"].tolist()) == {cable.far.inode}


@pytest.mark.parametrize(("family", "address"), [("ip", FAR_V4), ("ip6", FAR_V6)])
def test_a_packet_filter_on_the_way_out_drops_them_in_the_senders_namespace(
    kernel: DropKernel, cable: World, eventually: Eventually, *, family: str, address: str
) -> None:
    with cable.near.rules(NFT.format(family=family, hook="output", port=PORT)), kernel.watching(cable.near.inode):
        send_udp(cable.near, address)
        records = kernel.collect_until(eventually, address, port=PORT, packets=PACKETS)
    assert kernel.count(records) == {NFT_DROP: PACKETS}
    assert set(records["netns"].tolist()) == {cable.near.inode}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (FAR_V4, Drop("NO_SOCKET", "__udp4_lib_rcv")),
        (FAR_V6, Drop("NO_SOCKET", "__udp6_lib_rcv")),
        (NOWHERE_V4, Drop("IP_INNOROUTES", "ip_error")),
        (NOWHERE_V6, NO_ROUTE_V6),
    ],
    ids=["UDP over IPv4", "UDP over IPv6", "no route for IPv4", "no route for IPv6"],
)
def test_packets_that_nobody_takes_are_dropped_by_the_receiver(
    kernel: DropKernel, cable: World, eventually: Eventually, *, address: str, expected: Drop
) -> None:
    with kernel.watching(cable.far.inode):
        send_udp(cable.near, address)
        records = kernel.collect_until(eventually, address, port=PORT, packets=PACKETS)
    assert kernel.count(records) == {expected: PACKETS}


def test_a_full_socket_buffer_drops_what_the_socket_did_not_get(
    kernel: DropKernel, cable: World, eventually: Eventually
) -> None:
    sent = 400
    with cable.far.socket(socket.AF_INET, socket.SOCK_DGRAM) as full, kernel.watching(cable.far.inode):
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        full.bind((FAR_V4, PORT))
        with cable.near.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            for _ in range(sent):
                sending.sendto(bytes(200), (FAR_V4, PORT))
        received = eventually(lambda: count_datagrams(full), within_seconds=5)
        records = kernel.collect_until(eventually, FAR_V4, port=PORT, packets=sent - received)
    assert 0 < received < sent
    assert kernel.count(records) == {Drop("SOCKET_RCVBUFF", "udp_queue_rcv_one_skb"): sent - received}


def count_datagrams(full: socket.socket) -> int:
    count = 0
    while True:
        try:
            full.recv(2048, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return count
        count += 1


def test_a_dropped_super_packet_counts_as_the_packets_it_stands_for(
    kernel: DropKernel, cable: World, eventually: Eventually
) -> None:
    segments = 10
    rules = NFT.format(family="ip", hook="input", port=PORT)
    with cable.far.rules(rules), kernel.watching(cable.far.inode):
        with cable.near.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1000)
            sending.sendto(bytes(segments * 1000), (FAR_V4, PORT))
        records = kernel.collect_until(eventually, FAR_V4, port=PORT, packets=segments)
    assert kernel.count(records) == {NFT_DROP: segments}
    assert int(records["bytes"].sum()) == segments * 1000 + 28


def test_a_namespace_that_is_not_watched_reports_nothing(
    kernel: DropKernel, cable: World, eventually: Eventually
) -> None:
    before = kernel.rotation.totals()
    with kernel.watching(cable.near.inode):
        send_udp(cable.near, FAR_V4)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host:
            for _ in range(PACKETS):
                host.sendto(b"of the host", ("127.0.0.1", PORT))
        eventually(lambda: unwatched(kernel) >= int(before.packets[2]) + 2 * PACKETS, within_seconds=5)
        records = kernel.collect()
    assert set(records["netns"].tolist()) <= {cable.near.inode}
    assert len(packets_at(records, FAR_V4, PORT)) == 0
    assert len(packets_at(records, "127.0.0.1", PORT)) == 0


def unwatched(kernel: DropKernel) -> int:
    return int(kernel.rotation.totals().packets[2])


@pytest.mark.parametrize(("kind", "is_named"), [(Watched.NODE, True), (Watched.POD, False)])
def test_an_interface_index_names_something_in_the_nodes_own_namespace_only(
    kernel: DropKernel, cable: World, eventually: Eventually, *, kind: Watched, is_named: bool
) -> None:
    with kernel.watching(cable.far.inode, kind=kind):
        send_udp(cable.near, FAR_V4)
        records = kernel.collect_until(eventually, FAR_V4, port=PORT, packets=PACKETS)
    assert set(records["ifindex"].tolist()) == {cable.far.device_index() if is_named else 0}
