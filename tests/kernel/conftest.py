"""One compilation a session to what the kernel tests share."""

from pathlib import Path

import pytest

from tests.kernel.flow_kernel import FlowKernel

TRAFFIC = Path(__file__).parents[2] / "benchmarks" / "traffic.c"


@pytest.fixture(scope="session")
def flows() -> FlowKernel:
    """A flow monitor with a small table, a small ring, and the traffic generator."""
    return FlowKernel(
        "-DKNI_CONVERSATIONS=2048",
        "-DKNI_RING_BYTES=1048576",
        "-DKNI_CLOCK_REPLAY",
        more=TRAFFIC.read_text(encoding="utf-8"),
    )
