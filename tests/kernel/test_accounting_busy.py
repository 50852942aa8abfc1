"""A busy CPU to fewer round trips, chosen by a hash, with all packets counted."""

import os
from collections.abc import Iterator

import pytest

from collector import bpf_syscall
from collector.records import InterfaceKind
from tests.kernel.conftest import TRAFFIC
from tests.kernel.flow_kernel import LOOPBACK, FlowKernel
from tests.kernel.frames import total
from tests.kernel.traffic import FRAME, prepare

BURST = 50_000
"""Some jiffies, of which in the first nobody is busy yet."""
BURSTS = 10


@pytest.fixture(scope="module")
def strained() -> FlowKernel:
    """Sixteen segments in a jiffy are many."""
    flows = FlowKernel("-DKNI_CONVERSATIONS=512", "-DKNI_BUSY_SEGMENTS=16", more=TRAFFIC.read_text(encoding="utf-8"))
    flows.watch(LOOPBACK, slot=1, kind=InterfaceKind.POD)
    return flows


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """Whether a CPU is busy, each knows of itself."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


@pytest.mark.usefixtures("one_cpu")
def test_a_busy_cpu_times_about_one_segment_in_eight(strained: FlowKernel) -> None:
    prepare(strained, conversations=1, has_flags=False)
    program = strained.load("xdp_traffic")
    bpf_syscall.test_run(program, FRAME, repeat=BURST)
    strained.flush()
    for _ in range(BURSTS):
        bpf_syscall.test_run(program, FRAME, repeat=BURST)
    records = strained.flush()
    acknowledged = BURSTS * BURST // 2
    assert total(records, "packets") == [acknowledged] * 2
    assert acknowledged / 10 <= records["rtt_count"].sum() <= acknowledged / 6
