"""Packets to nanoseconds: what accounting one costs, over a program that does nothing with it.

The traffic is made in the kernel (traffic.c): 64-byte TCP segments of a random one of so many conversations, data and
acknowledgements by turns, so that round trips are measured, too. Each program runs by turns with the others, as many
packets before it is measured as while it is, since a CPU times fewer segments when it was busy before; of all rounds
the least counts: what else runs on the machine only adds. The baseline counts packets and bytes by 5-tuple in the
kernel's own hash, and does nothing else.
"""

import sys
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, show
from collector import bpf_syscall
from collector.records import InterfaceKind
from tests.kernel.flow_kernel import LOOPBACK, FlowKernel
from tests.kernel.traffic import FRAME, STATE

PROGRAMS = ("xdp_empty", "xdp_traffic", "xdp_plain", "tc_empty", "tc_traffic")
CONVERSATIONS = (1, 1_024, 65_536)
GOALS = {1_024: 70}
REPEAT = 100_000
ROUNDS = 9


def main() -> int:
    """Print the table."""
    traffic = Path(__file__).with_name("traffic.c").read_text(encoding="utf-8")
    flows = FlowKernel("-DKNI_CONVERSATIONS=65536", "-DKNI_RING_BYTES=16777216", more=traffic)
    flows.watch(LOOPBACK, slot=1, kind=InterfaceKind.POD)
    programs = {name: flows.load(name) for name in PROGRAMS}
    show(
        "nanoseconds a packet, net of the empty program",
        [figure for conversations in CONVERSATIONS for figure in measure(flows, programs, conversations=conversations)],
    )
    return 0


def measure(flows: FlowKernel, programs: dict[str, int], *, conversations: int) -> list[Figure]:
    """Figures of XDP and TC with so many conversations."""
    make(flows, conversations)
    for program in programs.values():
        bpf_syscall.test_run(program, FRAME, repeat=8 * conversations)
    rounds: dict[str, list[int]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, program in programs.items():
            bpf_syscall.test_run(program, FRAME, repeat=REPEAT)
            rounds[name].append(bpf_syscall.timed_test_run(program, FRAME, repeat=REPEAT))
            flows.ring.release(flows.ring.producer)
    least = {name: min(values) for name, values in rounds.items()}
    return [
        Figure(
            name=f"{hook.upper()}, {conversations:,} conversations",
            value=least[f"{hook}_traffic"] - least[f"{hook}_empty"],
            unit="ns",
            at_most=GOALS.get(conversations),
            baseline=least["xdp_plain"] - least["xdp_empty"],
            baseline_name="plain hash counter",
        )
        for hook in ("xdp", "tc")
    ]


def make(flows: FlowKernel, conversations: int) -> None:
    """Set what the generator makes."""
    states = np.zeros(bpf_syscall.possible_cpus(), STATE)
    states["random"], states["conversations"] = 88172645463325252, conversations
    bpf_syscall.map_update(flows.map("traffic"), bytes(4), states.tobytes())


if __name__ == "__main__":
    sys.exit(main())
