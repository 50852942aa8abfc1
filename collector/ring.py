"""Ring buffer to numpy arrays: thousands of flow records at once, no Python object for any of them.

``BPF_MAP_TYPE_RINGBUF`` (Linux, kernel/bpf/ringbuf.c): one page with the consumer's position, one with the producer's,
and the data, which the kernel has twice in a row, so that no record wraps around. Here its beginning stands once more
behind its end: mapped pages count as this process's, and a run that is longer is read in two. A record is an 8-byte
header (length, busy bit 31, discard bit 30) and its bytes; all of one ring are of one size here, so a run of them is an
array. Our programs discard none: they reserve when the record is sure.

Positions are ordinals: records since the ring was made. Reading does not move the consumer's position, releasing does:
until then the records stay in the ring, which outlives this process.

The data must not be older than the producer's position that was read before it. x86 never reorders loads; elsewhere a
membarrier on every CPU, 8 to 24 ms asleep, stands for the acquire barrier that Python does not have.
"""

import mmap
import os
from typing import Final

import numpy as np
import numpy.typing as npt

from collector.bpf_syscall import map_entries, map_memory, membarrier_global

_BUSY: Final = np.uint32(1 << 31)
_DISCARDED: Final = np.uint32(1 << 30)
_LENGTH: Final = np.uint32((1 << 30) - 1)
_HEADER_BYTES: Final = 8
_BEYOND_BYTES: Final = 1 << 20
_LOADS_ARE_ORDERED: Final = os.uname().machine == "x86_64"


class RingError(Exception):
    """The ring holds what was not written by these programs: another layout."""


class RingEnd:
    """Where a ring buffer of records of `dtype` ends, without its content."""

    def __init__(self, descriptor: int, dtype: np.dtype[np.void]) -> None:
        """Maps a page of the ring; the descriptor may be closed afterwards. Raises: OSError."""
        self._step = _step(dtype)
        page = map_memory(descriptor, mmap.PAGESIZE, offset=mmap.PAGESIZE, is_writable=False)
        self._produced = np.frombuffer(page, "<u8", 1)

    @property
    def producer(self) -> int:
        """Ordinal behind the last record that is written or being written."""
        return int(self._produced[0]) // self._step


class Ring:
    """One ring buffer of records of `dtype`."""

    def __init__(self, descriptor: int, dtype: np.dtype[np.void]) -> None:
        """Maps the ring; the descriptor may be closed afterwards. Raises: RingError, OSError."""
        self._size = map_entries(descriptor)
        self._step = _step(dtype)
        self._dtype = dtype
        self._end = RingEnd(descriptor, dtype)
        self._consumed = np.frombuffer(map_memory(descriptor, mmap.PAGESIZE), "<u8", 1)
        mapped = self._size + min(self._size, _BEYOND_BYTES)
        content = map_memory(descriptor, mapped, offset=2 * mmap.PAGESIZE, is_writable=False)
        self._bytes = np.frombuffer(content, np.uint8, mapped)
        opaque = f"V{dtype.itemsize}"  # numpy copies a structured dtype field by field: 200 ns a record, not 24
        self._framed = np.dtype(
            {"names": ["header", "record"], "formats": ["<u4", opaque], "offsets": [0, 8], "itemsize": self._step}
        )
        if self._consumed[0] % self._step:
            raise RingError(f"position {self._consumed[0]} is not between two records of {self._step} bytes")

    @property
    def capacity(self) -> int:
        """Records that the ring holds; the kernel never fills its last byte (kernel/bpf/ringbuf.c)."""
        return (self._size - 1) // self._step

    @property
    def position(self) -> int:
        """Ordinal of the first record that is still kept."""
        return int(self._consumed[0]) // self._step

    @property
    def producer(self) -> int:
        """Ordinal behind the last record that is written or being written."""
        return self._end.producer

    def read(self, limit: int, *, after: int) -> npt.NDArray[np.void]:
        """Records `after` … as far as they are written, `limit` at most; a copy. Nothing is released by it.

        Fewer come where a run is longer than what is mapped behind the ring's end: go on behind them.

        Raises:
            ValueError: the ring no longer keeps the record at `after`, or does not have it yet.
            RingError: a record of another size, or one that was discarded: positions would name nothing.
        """
        producer = self.producer
        if not self.position <= after <= producer:
            raise ValueError(f"position {after} is not between {self.position} and {producer}")
        if not _LOADS_ARE_ORDERED:
            membarrier_global()
        start = after * self._step % self._size
        count = min(producer - after, limit, (len(self._bytes) - start) // self._step)
        framed = self._bytes[start : start + count * self._step].view(self._framed)
        busy = np.flatnonzero(framed["header"] & _BUSY)
        if busy.size:
            framed = framed[: busy[0]]
        if (framed["header"] & (_LENGTH | _DISCARDED) != self._dtype.itemsize).any():
            raise RingError(f"the ring holds what is no record of {self._dtype.itemsize} bytes")
        return framed["record"].copy().view(self._dtype)

    def release(self, position: int) -> None:
        """Give the places of all records before `position` back to the kernel.

        Raises:
            ValueError: the ring does not have that record yet, or released it.
        """
        if not self.position <= position <= self.producer:
            raise ValueError(f"position {position} is not between {self.position} and {self.producer}")
        self._consumed[0] = position * self._step


def _step(dtype: np.dtype[np.void]) -> int:
    """Bytes from one record to the next."""
    return _HEADER_BYTES + -(-dtype.itemsize // 8) * 8
