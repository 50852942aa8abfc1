"""Packets made in the kernel to two busy CPUs: what the conservation law is tried with."""

import mmap
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import numpy.typing as npt

from collector import bpf_syscall
from collector.sweep import Policy, Sweeper
from tests.kernel.flow_kernel import FlowKernel

STATE = np.dtype(
    [("random", "<u8"), ("packets", "<u4"), ("conversations", "<u4"), ("has_flags", "<u4"), ("reserved", "<u4")]
)
FRAME = bytes([*bytes(12), 8, 0, 0x45, 0, 0, 50, *bytes(4), 64, 6, *bytes(22), 0x50, *bytes(17)])
LONG_FRAME = FRAME + bytes(136)
BURST = 20_000
HASTY = Policy(
    quiet_ns=200_000, no_answer_ns=300_000, half_open_ns=400_000, ended_ns=200_000, tcp_ns=500_000, other_ns=500_000
)
"""Everything leaves and is forgotten again and again while packets come."""


def prepare(flows: FlowKernel, conversations: int, *, has_flags: bool = True) -> None:
    """Set what the generator makes, and forget what it made."""
    states = np.zeros(bpf_syscall.possible_cpus(), STATE)
    states["random"] = 88172645463325252 + 7919 * np.arange(len(states))
    states["conversations"], states["has_flags"] = conversations, has_flags
    bpf_syscall.map_update(flows.map("traffic"), bytes(4), states.tobytes())
    for conversation in range(conversations):
        bpf_syscall.map_update(flows.map("sent"), conversation.to_bytes(4, "little"), bytes(8))


def sent(flows: FlowKernel, conversations: int) -> npt.NDArray[np.uint64]:
    """Packets made, by conversation."""
    keys = (conversation.to_bytes(4, "little") for conversation in range(conversations))
    return np.frombuffer(b"".join(bpf_syscall.map_lookup(flows.map("sent"), key, 8) for key in keys), "<u8")


@contextmanager
def two_busy_cpus(flows: FlowKernel) -> Iterator[None]:
    """One CPU has packets at XDP, one longer ones at TC, without a pause, until the block ends."""
    stop = mmap.mmap(-1, mmap.PAGESIZE)
    works = (flows.load("xdp_traffic"), FRAME), (flows.load("tc_traffic"), LONG_FRAME)
    cpus = sorted(os.sched_getaffinity(0))

    def send(cpu: int, program: int, frame: bytes) -> None:
        os.sched_setaffinity(0, {cpus[cpu % len(cpus)]})
        while not stop[0]:
            bpf_syscall.test_run(program, frame, repeat=BURST)

    children = [fork(partial(send, cpu, *work)) for cpu, work in enumerate(works)]
    try:
        yield
    finally:
        stop[0] = 1
        statuses = [os.waitpid(child, 0)[1] for child in children]
    assert statuses == [0, 0]


@contextmanager
def restless_sweeper(flows: FlowKernel) -> Iterator[Callable[[], None]]:
    """A process that sweeps without a pause; the block gets how to kill it and begin with another."""

    def sweep() -> None:
        sweeper = Sweeper(flows.pins, HASTY)
        while True:
            sweeper.tick(time.monotonic_ns())

    child = fork(sweep)

    def kill_and_restart() -> None:
        nonlocal child
        kill(child)
        child = fork(sweep)

    try:
        yield kill_and_restart
    finally:
        kill(child)


def fork(work: Callable[[], None]) -> int:
    """A process that does it and ends; its status is 1 when it failed."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def kill(child: int) -> None:
    """End it, wherever it is."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
