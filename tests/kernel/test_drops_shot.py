"""Packets that a traffic filter shoots to drop records of the namespace whose interface it was, and of no other."""

import socket
from collections.abc import Iterator

import pytest
from bcc import BPF

from collector.drop_layout import DropSizes
from collector.drop_rotation import CLASSES
from collector.netlink import Netlink
from collector.netlink_messages import EGRESS, INGRESS
from collector.netns_directory import Watched
from tests.deadline import Eventually
from tests.kernel.drop_kernel import Drop, DropKernel
from tests.kernel.drop_world import BEYOND_V4, FAR_V4, World, world

PACKETS = 5
PORT = 7007


@pytest.fixture(scope="module")
def kernel() -> DropKernel:
    return DropKernel(DropSizes(entries=1024, namespaces=16, call_sites=256, ring_bytes=1 << 18))


@pytest.fixture(scope="module")
def cable() -> Iterator[World]:
    with world("t", has_ipv6=False) as both:
        yield both


@pytest.fixture(scope="module")
def shot() -> Iterator[int]:
    """Descriptor of a classifier that drops every packet."""
    program = BPF(text=b"int shot(struct __sk_buff *skb) { return 2; /* TC_ACT_SHOT */ }")
    yield program.load_func(b"shot", BPF.SCHED_CLS).fd
    program.cleanup()


@pytest.fixture
def shoot(cable: World, shot: int, request: pytest.FixtureRequest) -> Iterator[int]:
    """Drop everything at the far interface, in the direction that is the parameter; give the interface's index."""
    ifindex = cable.far.device_index()
    netlink = Netlink(cable.far.path)
    assert netlink.attach(ifindex, {request.param: shot}, name="shot") == (True, {request.param: 0})
    yield ifindex
    netlink.remove_clsact(ifindex)
    netlink.close()


def send(cable: World, address: str) -> None:
    with cable.near.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for _ in range(PACKETS):
            sending.sendto(b"shot", (address, PORT))


@pytest.mark.parametrize(
    ("shoot", "address", "expected"),
    [
        (INGRESS, FAR_V4, Drop("TC_INGRESS", "__netif_receive_skb_core")),
        (EGRESS, BEYOND_V4, Drop("TC_EGRESS", "__dev_queue_xmit")),
    ],
    ids=["ingress", "egress"],
    indirect=["shoot"],
)
def test_a_packet_that_a_traffic_filter_shoots_is_dropped_at_the_interface(
    kernel: DropKernel, cable: World, eventually: Eventually, shoot: int, *, address: str, expected: Drop
) -> None:
    with kernel.watching(cable.far.inode, kind=Watched.NODE):
        send(cable, address)
        records = kernel.collect_until(eventually, address, port=PORT, packets=PACKETS)
    assert kernel.count(records) == {expected: PACKETS}
    assert set(records["ifindex"].tolist()) == {shoot}


@pytest.mark.parametrize("shoot", [INGRESS], indirect=True)
def test_a_packet_that_still_has_its_senders_socket_is_dropped_by_the_namespace_it_came_to(
    kernel: DropKernel, cable: World, eventually: Eventually, shoot: int
) -> None:
    """A veth hands a packet over with its socket: it is not the sender's namespace that drops it then."""
    unwatched = CLASSES.index("unwatched")
    with kernel.watching(cable.near.inode):
        before = int(kernel.rotation.totals().packets[unwatched])
        send(cable, FAR_V4)
        eventually(lambda: int(kernel.rotation.totals().packets[unwatched]) - before >= PACKETS, within_seconds=5)
        records = kernel.collect()
    assert shoot > 0
    assert len(records) == 0
