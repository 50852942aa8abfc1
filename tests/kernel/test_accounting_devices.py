"""Real devices to exact counts: VLAN tags that the kernel keeps beside the bytes, and real segmentation offload."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q
from scapy.packet import Raw

from collector import bpf_syscall
from collector.namespace import run_inside
from collector.netlink import Netlink
from tests.deadline import Eventually
from tests.kernel.drop_world import DEVICE, FAR_V4, Namespace, World, world
from tests.kernel.flow_kernel import FlowKernel, Hook
from tests.kernel.frames import frame, total

XDP = 37
"""BPF_XDP"""
NATIVE = 4
PORT = 7_007
TIME_WAIT = "06"
"""TCP_TIME_WAIT in /proc/net/tcp"""
PAYLOAD = 8 << 20
HEADERS = 14 + 20 + 32
SYN_HEADERS = 14 + 20 + 40


@pytest.fixture(scope="module")
def live() -> FlowKernel:
    """A flow monitor with the clock that collectors have."""
    return FlowKernel("-DKNI_CONVERSATIONS=512", "-DKNI_RING_BYTES=1048576")


@pytest.fixture(scope="module")
def cable() -> Iterator[World]:
    with world("b", has_ipv6=False) as both:
        yield both


@contextmanager
def watching(flows: FlowKernel, namespace: Namespace, *hooks: Hook) -> Iterator[None]:
    """Attached to the namespace's end of the cable."""
    with native_xdp(flows, namespace) if hooks == (Hook.XDP,) else filters(flows, namespace, *hooks):
        yield


@contextmanager
def native_xdp(flows: FlowKernel, namespace: Namespace) -> Iterator[None]:
    program, ifindex = flows.programs[Hook.XDP], namespace.device_index()
    attach = partial(bpf_syscall.link_create, program, ifindex, attach_type=XDP, flags=NATIVE)
    link = run_inside(namespace.path, attach)
    try:
        yield
    finally:
        os.close(link)


@contextmanager
def filters(flows: FlowKernel, namespace: Namespace, *hooks: Hook) -> Iterator[None]:
    ifindex, netlink = namespace.device_index(), Netlink(namespace.path)
    programs = {hook.value[1]: flows.programs[hook] for hook in hooks}
    try:
        assert netlink.attach(ifindex, programs, name="devices") == (True, dict.fromkeys(programs, 0))
        yield
    finally:
        netlink.remove_clsact(ifindex)
        netlink.close()


def collect(flows: FlowKernel, eventually: Eventually, *, packets: int) -> npt.NDArray[np.void]:
    """Records, once they hold so many packets to the test's port."""
    parts = []

    def enough() -> bool:
        flows.now_ns = time.monotonic_ns()
        records = flows.flush()
        parts.append(records[records["dst_port"] == PORT])
        return sum(int(part["packets"].sum()) for part in parts) >= packets

    eventually(enough, within_seconds=5)
    return np.concatenate(parts)


@pytest.mark.parametrize("hook", [Hook.XDP, Hook.TC_IN])
def test_a_tagged_frame_has_its_length_on_the_wire_at_every_hook(
    live: FlowKernel, cable: World, eventually: Eventually, hook: Hook
) -> None:
    content = frame(Dot1Q(vlan=5), IP(src="10.1.1.1", dst="10.1.1.2"), UDP(sport=9_999, dport=PORT), Raw(bytes(54)))
    with (
        watching(live, cable.far, hook),
        cable.near.socket(socket.AF_PACKET, socket.SOCK_RAW) as sending,
    ):
        sending.bind((DEVICE, 0))
        sending.send(content)
        records = collect(live, eventually, packets=1)
    assert len(content) == 100
    assert total(records, "bytes") == [100, 0]


def test_super_packets_of_a_real_stream_are_the_segments_that_tcp_sent(
    live: FlowKernel, cable: World, eventually: Eventually
) -> None:
    """What TCP counts as sent, and bytes to the last header, though the hook saw buffers of up to 64 KB."""
    with watching(live, cable.near, Hook.TC_IN, Hook.TC_OUT):
        before = segments_sent(cable.near)
        stream(cable, bytes(PAYLOAD))
        eventually(lambda: waits_after_its_last_ack(cable.near), within_seconds=5)
        sent = segments_sent(cable.near) - before
        records = collect(live, eventually, packets=sent)
    assert int(records["packet_bytes_max"].max()) <= 1_514
    assert int(records["packets"][:, 0].sum()) == sent
    assert int(records["bytes"][:, 0].sum()) == PAYLOAD + SYN_HEADERS + (sent - 1) * HEADERS
    assert int(records["connections_opened"].sum()) == int(records["connections_closed"].sum()) == 1
    assert int(records["local_socket"].max()) == 1


def stream(cable: World, payload: bytes) -> None:
    """Near sends all of it to far, and both close."""
    with cable.far.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind((FAR_V4, PORT))
        listening.listen()
        receiver = threading.Thread(target=receive_all, args=(listening.accept,))
        receiver.start()
        with cable.near.socket(socket.AF_INET, socket.SOCK_STREAM) as sending:
            sending.connect((FAR_V4, PORT))
            sending.sendall(payload)
            sending.shutdown(socket.SHUT_WR)
            assert sending.recv(1) == b""
        receiver.join(timeout=10)


def receive_all(accept: Callable[[], tuple[socket.socket, object]]) -> None:
    connection, _ = accept()
    with connection:
        while connection.recv(1 << 20):
            pass


def waits_after_its_last_ack(namespace: Namespace) -> bool:
    """Has a connection to the port reached TIME-WAIT? Its last ACK is sent before (tcp_fin in Linux)."""
    lines = [line.split() for line in namespace.run("cat", "/proc/net/tcp").splitlines()[1:]]
    return any(remote.endswith(f":{PORT:04X}") and state == TIME_WAIT for _, _, remote, state, *_ in lines)


def segments_sent(namespace: Namespace) -> int:
    """OutSegs of RFC 4022: without retransmissions."""
    names, values = (line.split() for line in namespace.run("cat", "/proc/net/snmp").splitlines() if "Tcp:" in line)
    return int(dict(zip(names, values, strict=True))["OutSegs"])
