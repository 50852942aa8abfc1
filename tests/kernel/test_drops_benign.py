"""Drops that harm nobody to records that say so; and the loss that is no drop: a full listen queue."""

import socket
from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from collector.drop_layout import DropSizes
from collector.drop_rotation import CLASSES
from collector.listen_overflows import ListenOverflows
from collector.namespace import run_inside
from tests.deadline import Eventually
from tests.kernel.drop_kernel import Drop, DropKernel, packets_at
from tests.kernel.drop_world import DEVICE, FAR_V4, FAR_V6, NEAR_V4, NEAR_V6, World, world

PORT = 7006
ETH_P_ALL = 0x0300
Manner = Literal["hurried", "orderly", "rude"]


@pytest.fixture(scope="module")
def kernel() -> DropKernel:
    return DropKernel(DropSizes(entries=1024, namespaces=16, call_sites=256, ring_bytes=1 << 18))


@pytest.fixture(scope="module")
def cable() -> Iterator[World]:
    with world("b") as both:
        yield both


def damage(kernel: DropKernel, records: npt.NDArray[np.void]) -> set[Drop]:
    """Reasons and places of the records that are not benign."""
    return set(kernel.count(records[kernel.names.resolve(records).benign == 0]))


def talk(cable: World, eventually: Eventually, address: str, *, connections: int, manner: Manner) -> None:
    """Open connections, say something both ways, close them at the client first.

    Hurried, the client closes before its FIN is acknowledged. A rude server closes before it has read everything: its
    kernel answers with a reset.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with cable.far.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, PORT))
        listening.listen(connections)
        for _ in range(connections):
            client = cable.near.socket(family, socket.SOCK_STREAM)
            client.connect((address, PORT))
            accepted, _ = listening.accept()
            client.sendall(b"question")
            accepted.recv(8)
            accepted.sendall(b"answer")
            client.recv(100)
            client.sendall(b"last words")
            if manner != "hurried":
                client.shutdown(socket.SHUT_WR)
                eventually(lambda: is_acknowledged(client), within_seconds=5)  # noqa: B023 - called before the next round
            client.close()
            if manner != "rude":
                while accepted.recv(100):
                    pass
            accepted.close()


def is_acknowledged(client: socket.socket) -> bool:
    """Has the other side acknowledged our FIN (state FIN_WAIT2)?"""
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 5


@pytest.mark.parametrize(
    ("address", "manner", "expected"),
    [
        (FAR_V4, "hurried", Drop("QUEUE_PURGE", "sk_stream_kill_queues")),
        (FAR_V6, "hurried", Drop("QUEUE_PURGE", "sk_stream_kill_queues")),
        (FAR_V4, "orderly", Drop("NOT_SPECIFIED", "tcp_v4_rcv")),
        (FAR_V6, "orderly", Drop("NOT_SPECIFIED", "tcp_v6_rcv")),
        (FAR_V4, "rude", Drop("NOT_SPECIFIED", "tcp_v4_rcv")),
        (FAR_V6, "rude", Drop("NOT_SPECIFIED", "tcp_v6_rcv")),
    ],
)
def test_the_last_packet_of_a_connection_is_a_benign_drop(
    kernel: DropKernel, cable: World, eventually: Eventually, *, address: str, manner: Manner, expected: Drop
) -> None:
    connections = 20
    with kernel.watching(cable.far.inode, cable.near.inode):
        talk(cable, eventually, address, connections=connections, manner=manner)
        records = kernel.collect_until(eventually, address, port=PORT, packets=connections, end="src")
    assert kernel.count(records) == {kernel.as_told(expected): connections}
    assert damage(kernel, records) == set()


def send_frame(cable: World, frame: Packet) -> None:
    with cable.near.socket(socket.AF_PACKET, socket.SOCK_RAW) as sending:
        sending.bind((DEVICE, 0))
        sending.send(bytes(frame))


@pytest.mark.parametrize(
    ("mac", "payload", "address", "expected"),
    [
        ("02:00:00:00:00:77", IP(src=NEAR_V4, dst=FAR_V4), FAR_V4, Drop("OTHERHOST", "ip_rcv_core")),
        ("02:00:00:00:00:77", IPv6(src=NEAR_V6, dst=FAR_V6), FAR_V6, Drop("OTHERHOST", "ip6_rcv_core")),
        ("33:33:00:00:12:34", IPv6(src=NEAR_V6, dst="ff02::1234"), "ff02::1234", Drop("NOT_SPECIFIED", "ip6_mc_input")),
    ],
    ids=["IPv4 for another station", "IPv6 for another station", "group that nobody joined"],
)
def test_what_was_for_others_is_benign(
    kernel: DropKernel,
    cable: World,
    eventually: Eventually,
    *,
    mac: str,
    payload: Packet,
    address: str,
    expected: Drop,
) -> None:
    with kernel.watching(cable.far.inode):
        send_frame(cable, Ether(src=cable.near.mac().hex(":"), dst=mac) / payload / UDP(dport=PORT) / b"x")
        records = kernel.collect_until(eventually, address, port=PORT, packets=1)
    assert kernel.count(records) == {expected: 1}
    assert damage(kernel, records) == set()


def test_what_a_sniffer_did_not_read_is_benign(kernel: DropKernel, cable: World, eventually: Eventually) -> None:
    with cable.far.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, kernel.watching(cable.far.inode):
        receiver.bind((FAR_V4, PORT))
        with (
            cable.far.socket(socket.AF_PACKET, socket.SOCK_RAW, ETH_P_ALL),
            cable.near.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending,
        ):
            sending.sendto(b"seen by both", (FAR_V4, PORT))
            assert receiver.recv(100) == b"seen by both"
        records = kernel.collect_until(eventually, FAR_V4, port=PORT, packets=1)
    assert kernel.count(records) == {Drop("QUEUE_PURGE", "skb_queue_purge_reason"): 1}
    assert damage(kernel, records) == set()


def test_what_a_slow_sniffer_had_no_place_for_is_benign(
    kernel: DropKernel, cable: World, eventually: Eventually
) -> None:
    sent = 50
    with cable.far.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, kernel.watching(cable.near.inode):
        receiver.bind((FAR_V4, PORT))
        with cable.near.socket(socket.AF_PACKET, socket.SOCK_RAW, ETH_P_ALL) as sniffer:
            sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
            with cable.near.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
                for _ in range(sent):
                    sending.sendto(bytes(100), (FAR_V4, PORT))
            records = kernel.collect_until(eventually, FAR_V4, port=PORT, packets=sent // 2)
    assert kernel.as_told(Drop("PACKET_SOCK_ERROR", "packet_rcv")) in kernel.count(records)
    assert damage(kernel, records) == set()


def test_a_keepalive_is_benign_and_known_by_the_receiving_socket(
    kernel: DropKernel, cable: World, eventually: Eventually
) -> None:
    with cable.far.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((FAR_V4, PORT))
        listening.listen(1)
        with cable.near.socket(socket.AF_INET, socket.SOCK_STREAM) as client, kernel.watching(cable.far.inode):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
            client.connect((FAR_V4, PORT))
            records = kernel.collect_until(eventually, FAR_V4, port=PORT, packets=1)
    assert set(kernel.count(records)) == {Drop("TCP_OLD_SEQUENCE", "tcp_validate_incoming")}
    assert set(records["netns"].tolist()) == {cable.far.inode}
    assert damage(kernel, records) == set()


def test_datagrams_that_a_closed_socket_had_not_read_have_no_namespace_and_are_counted(
    kernel: DropKernel, cable: World, eventually: Eventually
) -> None:
    unread = 5
    unattributed = CLASSES.index("unattributed")
    with kernel.watching(cable.far.inode):
        before = int(kernel.rotation.totals().packets[unattributed])
        with cable.far.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind((FAR_V4, PORT))
            with cable.near.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
                for _ in range(unread):
                    sending.sendto(b"never read", (FAR_V4, PORT))
            receiver.recv(100, socket.MSG_PEEK)
        eventually(lambda: int(kernel.rotation.totals().packets[unattributed]) - before >= unread, within_seconds=5)
        records = packets_at(kernel.collect(), FAR_V4, PORT)
    assert len(records) == 0


def test_a_full_listen_queue_is_counted_by_the_namespaces_own_counter(cable: World, eventually: Eventually) -> None:
    overflows = run_inside(cable.far.path, ListenOverflows)
    before = overflows.read()
    clients = [cable.near.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(6)]
    with cable.far.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((FAR_V4, PORT))
        listening.listen(1)
        for client in clients:
            client.settimeout(0)
            client.connect_ex((FAR_V4, PORT))
        assert eventually(lambda: overflows.read() - before, within_seconds=5) > 0
    for client in clients:
        client.close()
    overflows.close()
