"""flow_monitor.c to a flow monitor in this process: frames go in by test-runs, records and totals come out."""

import os
import struct
from enum import Enum
from pathlib import Path

import numpy as np
import numpy.typing as npt
from bcc import BPF

from collector import bpf_syscall
from collector.records import FLOW_RECORD, HOOK_TOTAL, SLOT, InterfaceKind
from collector.ring import Ring
from collector.sweep import Policy, Scan, Sweeper

SOURCES = Path(__file__).parents[2] / "bpf"
RING_BYTES = 1 << 20
FLOW_SOURCES = ("flow_monitor.c", "flow_hooks.c", "flow_sweep.c")
MAPS = (
    *("table", "cold", "hook_totals", "exporters", "slots", "crowded_slots"),
    *("interfaces", "jobs", "sweeps", "flows_ring"),
)
SLOTS = 512
TEST_RUN_LIMIT = 3_500
"""Longer frames are refused: they are cut, and say their length in wire_len."""
LOOPBACK = 1
"""Where the kernel runs test-runs, unless told otherwise."""
CLOCK_START_NS = 1_000_000_000_000


class Hook(Enum):
    """Program and direction."""

    XDP = ("xdp_ingress", 0)
    TC_IN = ("tc_ingress", 0)
    TC_OUT = ("tc_egress", 1)


class FlowKernel:
    """Programs, table and ring of their own; attached nowhere. Time is what each frame says."""

    def __init__(self, *macros: str, more: str = "") -> None:
        """`more`: C that stands behind flow_monitor.c in the same compilation."""
        os.environ["BCC_KERNEL_SOURCE"] = str(SOURCES / "kernel")
        text = "".join((SOURCES / part).read_text(encoding="utf-8") for part in FLOW_SOURCES) + more
        arguments = [f"-I{SOURCES}", "-Wno-macro-redefined", *macros]
        self.module = BPF(text=text.encode(), cflags=arguments)
        self.programs = {hook: self.load(*hook.value) for hook in Hook}
        self.pins = {name: int(self.module[name.encode()].map_fd) for name in MAPS}
        self.pins["sweep"] = self.load("sweep", 0)
        self.ring = Ring(self.pins["flows_ring"], FLOW_RECORD)
        self.sweeper = Sweeper(self.pins)
        self.now_ns = CLOCK_START_NS

    def load(self, name: str, _direction: int = 0) -> int:
        """Descriptor of a program."""
        kind = BPF.XDP if "xdp" in name else BPF.SCHED_CLS
        descriptor: int = self.module.load_func(name.encode(), kind).fd
        return descriptor

    def map(self, name: str) -> int:
        """Descriptor of a map."""
        descriptor: int = self.module[name.encode()].map_fd
        return descriptor

    def watch(self, ifindex: int, *, slot: int, kind: InterfaceKind) -> None:
        """Give an interface a slot."""
        entry = np.array([(ifindex, slot, kind, 0)], SLOT).tobytes()
        bpf_syscall.map_update(self.pins["slots"], struct.pack("<I", ifindex & 0xFFFF), entry)

    def watch_crowded(self, ifindex: int, *, slot: int, kind: InterfaceKind) -> None:
        """Give an interface a slot whose place by index another has."""
        entry = np.array([(ifindex, slot, kind, 0)], SLOT).tobytes()
        bpf_syscall.map_update(self.pins["crowded_slots"], struct.pack("<I", ifindex), entry)

    def forget_crowded(self, ifindex: int) -> None:
        """Take that back."""
        bpf_syscall.map_delete(self.pins["crowded_slots"], struct.pack("<I", ifindex))

    def send(self, frame: bytes, hook: Hook = Hook.TC_IN, *, gso_segments: int = 0, gso_size: int = 0) -> None:
        """Have a hook see a frame, now. At TC, what is too long for a test-run is cut and gives its length."""
        program = self.programs[hook]
        if hook is Hook.XDP:
            bpf_syscall.test_run(program, frame, repeat=1)
            return
        context = sk_buff(tstamp=self.now_ns, wire_len=len(frame), gso_segs=gso_segments, gso_size=gso_size)
        bpf_syscall.test_run_in_context(program, frame[:TEST_RUN_LIMIT], context=context)

    def records(self) -> npt.NDArray[np.void]:
        """Take what is in the ring."""
        position = self.ring.position
        records = self.ring.read(self.ring.capacity, after=position)
        self.ring.release(position + len(records))
        return records

    def flush(self) -> npt.NDArray[np.void]:
        """Records of all that was accounted, and an empty table."""
        parts = [self.records()]
        while self.sweeper.flush(self.now_ns).conversations:
            parts.append(self.records())
        return np.concatenate([*parts, self.records()])

    def tick(self, policy: Policy | None = None) -> Scan:
        """One round of the sweep, now."""
        return (Sweeper(self.pins, policy) if policy else self.sweeper).tick(self.now_ns)

    def totals(self) -> npt.NDArray[np.void]:
        """Hook totals by slot * 2 + direction, summed over CPUs."""
        by_cpu = bpf_syscall.array_of_cpus(self.pins["hook_totals"], HOOK_TOTAL, entries=SLOTS * 2)
        words = by_cpu.view("<u8").reshape(*by_cpu.shape, HOOK_TOTAL.itemsize // 8)
        return np.ascontiguousarray(words.sum(axis=1)).view(HOOK_TOTAL).reshape(-1)


def sk_buff(*, tstamp: int, wire_len: int, gso_segs: int, gso_size: int) -> bytes:
    """The struct __sk_buff (include/uapi/linux/bpf.h) as a test-run takes it: zero but for these."""
    content = bytearray(192)
    struct.pack_into("<QII", content, 152, tstamp, wire_len, gso_segs)
    struct.pack_into("<I", content, 176, gso_size)
    return bytes(content)
