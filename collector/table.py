"""The kernel's table of conversations to arrays: which places are in use, and what waits in them.

It is read through mmap, without a system call. A look at all of it touches a cache line of every bucket, however few
are in use: that is most of what it costs.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from collector.bpf_syscall import map_entries, map_memory
from collector.records import BUCKET, COLD, HOT, WAYS, Mark, Tag

TICK_BITS: Final = 16
"""kni_hot.first and .last count in 65.536 µs."""

_PACKETS_SHIFT: Final = np.uint64(40)
_BYTES_MASK: Final = np.uint64((1 << 40) - 1)
_LINE: Final = np.dtype("V64")
"""A cache line: a bucket is one of digests and one for each place. numpy copies it whole, a struct field by field."""
_LINES: Final = BUCKET.itemsize // _LINE.itemsize
"""Of a bucket, and as many words are in its first line: a digest for each place, and 0 behind them."""
_BLOCK: Final = 4_096
"""Buckets looked at together: what is copied of them stays in the processor's cache."""

Integers = npt.NDArray[np.int64]


class Chosen(NamedTuple):
    """Places, and when the last packet had come when they were looked at."""

    places: Integers
    last: npt.NDArray[np.uint32]


class Entries(NamedTuple):
    """The places in use, gathered; ages are nanoseconds since the last packet."""

    slots: Integers
    """Bucket * 8 + way."""
    is_gone: npt.NDArray[np.bool_]
    hot: npt.NDArray[np.void]
    packets: npt.NDArray[np.uint64]
    bytes: npt.NDArray[np.uint64]
    age_ns: Integers
    oldest_age_ns: int
    """Of the first packet that waits in the table; 0: none waits."""

    def take(self, chosen: npt.NDArray[np.bool_]) -> Chosen:
        """Some of them."""
        return Chosen(_places(self.slots[chosen]), self.hot["last"][chosen])


class Table:
    """The table, mapped."""

    def __init__(self, table: int, cold: int) -> None:
        """Both are descriptors, which may be closed afterwards."""
        self.places = map_entries(cold)
        buckets = self.places // WAYS
        memory = map_memory(table, buckets * BUCKET.itemsize)
        self._lines = np.frombuffer(memory, _LINE, buckets * _LINES)
        self._cold = np.frombuffer(map_memory(cold, self.places * COLD.itemsize), COLD, self.places)
        self._heads = np.empty(min(buckets, _BLOCK), _LINE)

    def look(self, now_ns: int) -> Entries:
        """All places in use."""
        slots, tags = [], []
        heads = self._lines[::_LINES]
        for first in range(0, len(heads), _BLOCK):
            block = heads[first : first + _BLOCK]
            self._heads[: len(block)] = block
            words = self._heads[: len(block)].view(np.uint64)
            used = np.flatnonzero(words != Tag.FREE)
            slots.append(used + first * _LINES)
            tags.append(words[used])
        return self._gather(np.concatenate(slots), np.concatenate(tags), now_ns=now_ns)

    def _gather(self, slots: Integers, tags: npt.NDArray[np.uint64], *, now_ns: int) -> Entries:
        hot = self._lines[slots + 1].view(HOT)
        packets = (hot["count"] >> _PACKETS_SHIFT).sum(axis=1)
        octets = (hot["count"] & _BYTES_MASK).sum(axis=1)
        pending = np.flatnonzero(hot["state"]["marks"] & Mark.PENDING)
        if len(pending):
            cold = self._cold[_places(slots[pending])]
            packets[pending] += cold["spilled_packets"].sum(axis=1)
            octets[pending] += cold["spilled_bytes"].sum(axis=1)
        first = np.where(hot["first"], hot["first"], hot["last"])[packets > 0]
        oldest = int(_ages_ns(first, now_ns).max(initial=0))
        return Entries(slots, tags == Tag.GONE, hot, packets, octets, _ages_ns(hot["last"], now_ns), oldest)


def _places(slots: Integers) -> Integers:
    """How the kernel side counts places: without the unused word of each bucket."""
    return slots - slots // _LINES


def _ages_ns(ticks: npt.NDArray[np.uint32], now_ns: int) -> Integers:
    """Ticks of 32 bits to nanoseconds before now; negative: after."""
    now = np.uint32(now_ns >> TICK_BITS & 0xFFFFFFFF)
    return (now - ticks).view(np.int32).astype(np.int64) << TICK_BITS
