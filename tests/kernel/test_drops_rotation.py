"""Drop maps to the ring: nothing is lost uncounted when the ring is full, the map is full, or a tick is killed."""

import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from collector import bpf_syscall
from collector.drop_layout import DropSizes
from collector.drop_rotation import CLASSES, DropRotation
from tests.deadline import Eventually
from tests.kernel.drop_kernel import DropKernel
from tests.kernel.drop_world import FAR_V4, World, world

ENTRIES = 64
RING_BYTES = 4096
RING_RECORDS = RING_BYTES // 104
ATTRIBUTED, MAP_FULL = CLASSES.index("attributed"), CLASSES.index("map_full")
STATISTICS = Path("/proc/sys/kernel/bpf_stats_enabled")
RUN_COUNT = 200
"""run_cnt in struct bpf_prog_info"""


@pytest.fixture(scope="module")
def kernel() -> DropKernel:
    return DropKernel(DropSizes(entries=ENTRIES, namespaces=16, call_sites=256, ring_bytes=RING_BYTES))


@pytest.fixture(scope="module")
def cable() -> Iterator[World]:
    with world("r", has_ipv6=False) as both:
        yield both


@pytest.fixture
def drop(kernel: DropKernel, cable: World, eventually: Eventually) -> Callable[[int], None]:
    """Have one packet dropped for each of as many closed ports."""

    def drop_on(ports: int) -> None:
        before = counted(kernel)
        with cable.near.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            for port in range(1, ports + 1):
                sending.sendto(b"dropped", (FAR_V4, port))
        eventually(lambda: counted(kernel) - before >= ports, within_seconds=5)

    return drop_on


def counted(kernel: DropKernel) -> int:
    packets = kernel.rotation.totals().packets
    return int(packets[ATTRIBUTED] + packets[MAP_FULL])


def packets_in(*parts: npt.NDArray[np.void]) -> int:
    return sum(int(part["packets"].sum()) for part in parts)


def test_a_full_ring_leaves_entries_in_their_map_and_they_come_out_later(
    kernel: DropKernel, cable: World, drop: Callable[[int], None]
) -> None:
    with kernel.watching(cable.far.inode):
        drop(ENTRIES)
        first = kernel.rotation.tick()
        second = kernel.rotation.tick()
        held = kernel.rotation.held()
        early = kernel.read_ring()
        third = kernel.rotation.tick()
        late = kernel.read_ring()
    assert first == (True, RING_RECORDS, ENTRIES - RING_RECORDS)
    assert second == (False, 0, ENTRIES - RING_RECORDS)
    assert third == (False, ENTRIES - RING_RECORDS, 0)
    assert (held.entries, held.packets) == (ENTRIES - RING_RECORDS, ENTRIES - RING_RECORDS)
    assert packets_in(early, late) == ENTRIES
    assert sorted(np.concatenate([early, late])["dst_port"].tolist()) == list(range(1, ENTRIES + 1))


def test_what_finds_no_place_in_the_map_is_counted(
    kernel: DropKernel, cable: World, drop: Callable[[int], None]
) -> None:
    surplus = 30
    with kernel.watching(cable.far.inode):
        before = kernel.rotation.totals()
        drop(ENTRIES + surplus)
        totals = kernel.rotation.totals()
        held = kernel.rotation.held()
    assert totals.packets[MAP_FULL] - before.packets[MAP_FULL] == surplus
    assert totals.packets[ATTRIBUTED] - before.packets[ATTRIBUTED] == ENTRIES
    assert totals.bytes[ATTRIBUTED] - before.bytes[ATTRIBUTED] == held.bytes
    assert (held.entries, held.packets) == (ENTRIES, ENTRIES)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killed(DropRotation):
    """A rotation whose process is killed at one point of its first tick."""

    def __init__(self, kernel: DropKernel, point: str) -> None:
        super().__init__(kernel.maps)
        self._point = point

    def settle(self) -> None:
        if self._point == "before the grace period":
            die()
        super().settle()

    def _move(self, keys: npt.NDArray[np.void]) -> int:
        if self._point == "before the move":
            die()
        super()._move(keys[: len(keys) // 2])
        die()
        return 0


@pytest.mark.parametrize("point", ["before the grace period", "before the move", "in the middle of the move"])
def test_a_tick_that_is_killed_leaves_nothing_half_done(
    kernel: DropKernel, cable: World, drop: Callable[[int], None], point: str
) -> None:
    ports = RING_RECORDS
    with kernel.watching(cable.far.inode):
        drop(ports)
        child = os.fork()
        if not child:
            Killed(kernel, point).tick()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        drop(ports)
        successor = DropRotation(kernel.maps)
        successor.settle()
        records = []
        for _ in range(3):
            successor.tick()
            records.append(kernel.read_ring())
    assert packets_in(*records) == 2 * ports
    assert successor.held() == (0, 0, 0)


def test_drops_while_ticks_go_on_are_all_in_records(kernel: DropKernel, cable: World, eventually: Eventually) -> None:
    """The law, with one process dropping and another one rotating, on two processors."""
    datagrams = 30_000
    with kernel.watching(cable.far.inode):
        before = kernel.rotation.totals()
        child = os.fork()
        if not child:
            flood(cable, datagrams)
            os._exit(0)
        moved = [packets_in(kernel.collect())]
        eventually(lambda: has_ended(child, kernel, moved), within_seconds=20)
        moved.extend(packets_in(kernel.collect()) for _ in range(3))
        totals = kernel.rotation.totals()
    attributed = int(totals.packets[ATTRIBUTED] - before.packets[ATTRIBUTED])
    full = int(totals.packets[MAP_FULL] - before.packets[MAP_FULL])
    assert sum(moved) == attributed
    assert attributed + full >= datagrams
    assert attributed > full


def flood(cable: World, datagrams: int) -> None:
    with cable.near.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as sending:
        for number in range(datagrams):
            header = struct.pack("!HHHH", 9, 1 + number % (ENTRIES // 2), 8, 0)
            sending.sendto(header, (FAR_V4, 0))


def has_ended(child: int, kernel: DropKernel, moved: list[int]) -> bool:
    moved.append(packets_in(kernel.collect()))
    return os.waitpid(child, os.WNOHANG)[0] == child


def test_every_run_of_the_program_is_in_exactly_one_class(
    kernel: DropKernel, cable: World, drop: Callable[[int], None]
) -> None:
    def runs() -> int:
        return int.from_bytes(bpf_syscall.object_info(kernel.on_drop)[RUN_COUNT : RUN_COUNT + 8], "little")

    was = STATISTICS.read_text()
    STATISTICS.write_text("1")
    try:
        runs_before, before = runs(), kernel.rotation.totals()
        with kernel.watching(cable.far.inode):
            drop(ENTRIES + 30)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host:
                host.sendto(b"of the host", ("127.0.0.1", 9))
            kernel.collect()
        kernel.rotation.settle()
        after = kernel.rotation.totals()
    finally:
        STATISTICS.write_text(was)
    assert int(after.frames.sum() - before.frames.sum()) == runs() - runs_before > ENTRIES
    assert after.missed_frames == before.missed_frames
