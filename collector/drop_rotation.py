"""Drop maps to the drops ring: one tick flips the map of new drops and moves what the resting one holds out.

Nothing of a tick lives in this process. Which map rests is `drop_epoch`; an entry is in a map until the very program
run that also puts it into the ring. So a tick may be killed anywhere and the next one, of whatever process, goes on.
One process at a time: who ticks holds the collector's lock.
"""

import errno
import sys
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from collector import bpf_syscall

KEY: Final = np.dtype(
    [
        ("location", "u8"),
        ("src_addr", "V16"),
        ("dst_addr", "V16"),
        ("reason", "u4"),
        ("netns", "u4"),
        ("ifindex", "u4"),
        ("src_port", "u2"),
        ("dst_port", "u2"),
        ("protocol", "u1"),
        ("ip_version", "u1"),
        ("reserved", "V6"),
    ]
)
"""struct kni_drop_key"""
SUM: Final = np.dtype(
    [("packets", "u8"), ("bytes", "u8"), ("time_start_ns", "u8"), ("time_end_ns", "u8"), ("tcp_flags", "u8")]
)
"""struct kni_drop_sum"""
CLASSES: Final = ("attributed", "unattributed", "unwatched", "not_ip", "map_full")
"""enum kni_drop_class: each dropped sk_buff is counted in exactly one."""
TOTALS: Final = np.dtype([(unit, "u8", len(CLASSES)) for unit in ("frames", "packets", "bytes")])
"""struct kni_drop_totals"""
SWEEP: Final = np.dtype([("next", "u8"), ("moved", "u8"), ("refused", "u8")])
"""struct kni_drop_sweep"""
CALL_SITE_BYTES: Final = 96
"""struct kni_call_site"""

_FIRST: Final = bytes(4)
"""The key of an array's only element."""
_FRAME: Final = bytes(64)
"""What a test run passes to sweep_drops, which does not look at it. Not IP: so its own drop is counted as not_ip."""
_MISSES: Final = slice(208, 216)
"""recursion_misses in struct bpf_prog_info (5.12)."""


@dataclass(frozen=True, slots=True)
class DropMaps:
    """Descriptors of the drop side's maps and programs."""

    drops_0: int
    drops_1: int
    drop_epoch: int
    drop_totals: int
    drop_jobs: int
    drop_sweep: int
    sweep_drops: int
    on_drop: int
    entries: int
    """The size of each of the two maps, and of drop_jobs."""


class Tick(NamedTuple):
    """What one tick did. `flipped` and nothing `left`: all that was dropped before the tick began is in the ring."""

    flipped: bool
    moved: int
    left: int
    """Entries that stay in the resting map because the ring is full; the next tick takes them up before it flips."""


class Held(NamedTuple):
    """What both maps hold."""

    entries: int
    packets: int
    bytes: int


class DropTotals(NamedTuple):
    """Cumulative since the program was loaded; each array by CLASSES."""

    frames: npt.NDArray[np.uint64]
    packets: npt.NDArray[np.uint64]
    bytes: npt.NDArray[np.uint64]
    missed_frames: int
    """The kernel ran into the tracepoint inside of it and did not run the program: in no class."""


class DropRotation:
    """The two drop maps by turns. Call `settle` once before the first tick."""

    def __init__(self, maps: DropMaps) -> None:
        self._maps = maps
        self._jobs = np.frombuffer(
            bpf_syscall.map_memory(maps.drop_jobs, maps.entries * KEY.itemsize), KEY, maps.entries
        )

    def settle(self) -> None:
        """Wait until no CPU fills the resting map any more: a predecessor may have died just after its flip."""
        bpf_syscall.membarrier_global()

    def tick(self) -> Tick:
        """Move what was dropped until now to the ring.

        Nothing is flipped while the resting map still holds what the full ring refused: it goes first. Takes one RCU
        grace period (8 to 24 ms, asleep) when it flips.
        """
        waiting = len(self._resting_keys())
        if not waiting:
            self._flip()
            self.settle()
        keys = self._resting_keys()
        moved = self._move(keys)
        return Tick(flipped=not waiting, moved=moved, left=len(self._resting_keys()) if len(keys) else 0)

    def held(self) -> Held:
        """What the maps hold now; exact when nothing is dropped meanwhile."""
        sums = np.concatenate([self._read(map_fd)[1] for map_fd in (self._maps.drops_0, self._maps.drops_1)])
        return Held(len(sums), int(sums["packets"].sum()), int(sums["bytes"].sum()))

    def totals(self) -> DropTotals:
        """What the kernel counted: attributed = records + held, in packets and in bytes."""
        cpus = bpf_syscall.possible_cpus()
        value = bpf_syscall.map_lookup(self._maps.drop_totals, _FIRST, cpus * TOTALS.itemsize)
        per_cpu = np.frombuffer(value, TOTALS)
        misses = bpf_syscall.object_info(self._maps.on_drop)[_MISSES]
        return DropTotals(
            frames=per_cpu["frames"].sum(axis=0),
            packets=per_cpu["packets"].sum(axis=0),
            bytes=per_cpu["bytes"].sum(axis=0),
            missed_frames=int.from_bytes(misses, sys.byteorder),
        )

    def _epoch(self) -> int:
        return int.from_bytes(bpf_syscall.map_lookup(self._maps.drop_epoch, _FIRST, 8), sys.byteorder)

    def _flip(self) -> None:
        bpf_syscall.map_update(self._maps.drop_epoch, _FIRST, (self._epoch() + 1).to_bytes(8, sys.byteorder))

    def _resting_keys(self) -> npt.NDArray[np.void]:
        return self._read(self._maps.drops_0 if self._epoch() & 1 else self._maps.drops_1)[0]

    def _read(self, map_fd: int) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
        """Keys and sums of a map."""
        keys, sums = bpf_syscall.map_lookup_batch(map_fd, self._maps.entries, KEY.itemsize, SUM.itemsize)
        return np.frombuffer(keys, KEY), np.frombuffer(sums, SUM)

    def _move(self, keys: npt.NDArray[np.void]) -> int:
        """Run sweep_drops once per key; the number that went to the ring."""
        if not len(keys):
            return 0
        self._jobs[: len(keys)] = keys
        bpf_syscall.map_update(self._maps.drop_sweep, _FIRST, bytes(SWEEP.itemsize))
        try:
            bpf_syscall.test_run(self._maps.sweep_drops, _FRAME, repeat=len(keys))
        except OSError as error:
            if error.errno != errno.EINTR:  # a signal came between two runs: the rest stays for the next tick
                raise
        done = np.frombuffer(bpf_syscall.map_lookup(self._maps.drop_sweep, _FIRST, SWEEP.itemsize), SWEEP)
        return int(done["moved"][0])
