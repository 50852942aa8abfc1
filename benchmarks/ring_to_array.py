"""A full ring to numpy arrays, in records a second: beside BCC's callback, which does nothing with them."""

import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, show
from benchmarks.packet_cost import make
from collector import bpf_syscall
from collector.records import InterfaceKind
from tests.kernel.flow_kernel import LOOPBACK, FlowKernel
from tests.kernel.traffic import FRAME

CONVERSATIONS = 65_536
BATCH = 2_000
ROUNDS = 9


def main() -> int:
    """Print the table; status 1 when the ring could not be filled."""
    traffic = Path(__file__).with_name("traffic.c").read_text(encoding="utf-8")
    flows = FlowKernel("-DKNI_CONVERSATIONS=65536", "-DKNI_RING_BYTES=16777216", more=traffic)
    flows.watch(LOOPBACK, slot=1, kind=InterfaceKind.POD)
    fill(flows)
    count = flows.ring.producer - flows.ring.position
    if count < CONVERSATIONS // 2:
        sys.stderr.write(f"ring_to_array: {count} records in the ring, of {CONVERSATIONS}\n")
        return 1
    seconds = min(read_all(flows) for _ in range(ROUNDS))
    show(
        f"ring to array, {count:,} records in batches of {BATCH:,}",
        [
            Figure(
                name="records a second",
                value=count / seconds,
                unit="1/s",
                at_least=10_000_000,
                baseline=count / call_back(flows),
                baseline_name="BCC's callback, empty",
            )
        ],
    )
    return 0


def fill(flows: FlowKernel) -> None:
    """Account packets of many conversations, and export them."""
    make(flows, CONVERSATIONS)
    bpf_syscall.test_run(flows.load("xdp_traffic"), FRAME, repeat=8 * CONVERSATIONS)
    flows.ring.release(flows.ring.producer)
    flows.sweeper.flush(time.monotonic_ns())


def read_all(flows: FlowKernel) -> float:
    """Seconds to copy what is in the ring, batch by batch; it stays there."""
    begin = time.perf_counter()
    position, end = flows.ring.position, flows.ring.producer
    octets = np.uint64(0)
    while position < end:
        records = flows.ring.read(BATCH, after=position)
        octets += records["bytes"][0, 0]
        position += len(records)
    return time.perf_counter() - begin


def call_back(flows: FlowKernel) -> float:
    """Seconds until BCC has called back for each of them."""
    flows.module[b"flows_ring"].open_ring_buffer(lambda _context, _data, _size: None)
    begin = time.perf_counter()
    flows.module.ring_buffer_consume()
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
