"""One compilation a session to what the kernel tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.records import InterfaceKind
from tests.kernel.flow_kernel import LOOPBACK, RING_BYTES, FlowKernel

TRAFFIC = Path(__file__).parents[2] / "benchmarks" / "traffic.c"


@pytest.fixture(scope="session")
def flows() -> FlowKernel:
    """A flow monitor with a small table, a small ring, and the traffic generator."""
    return FlowKernel(
        "-DKNI_CONVERSATIONS=2048",
        f"-DKNI_RING_BYTES={RING_BYTES}",
        "-DKNI_CLOCK_REPLAY",
        more=TRAFFIC.read_text(encoding="utf-8"),
    )


@pytest.fixture
def at_pod(flows: FlowKernel) -> Iterator[None]:
    """Frames pass a pod's interface; time stands still at a full second."""
    flows.watch(LOOPBACK, slot=3, kind=InterfaceKind.POD)
    flows.flush()
    flows.now_ns = (flows.now_ns // 10**9 + 1000) * 10**9
    yield
    flows.flush()
