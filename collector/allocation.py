"""This process's libraries to little memory: import it before Arrow and numpy.

Each reads its environment once, when it is loaded. Arrow's own allocators hold 4 to 10 MB back and are no faster with a
handful of batches; numpy's BLAS, which nothing here computes with, starts a thread for each processor; glibc gives
threads arenas of their own.
"""

import ctypes
import os
from pathlib import Path
from typing import Final

_ARENA_MAX: Final = -8
"""M_ARENA_MAX, malloc.h"""
_DONTNEED: Final = 4
"""MADV_DONTNEED, sys/mman.h"""
_LIBC: Final = ctypes.CDLL(None)
_MAPS: Final = Path("/proc/self/maps")

os.putenv("ARROW_DEFAULT_MEMORY_POOL", "system")
os.putenv("OPENBLAS_NUM_THREADS", "1")
_LIBC.mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Return to the kernel what only the start needed: memory that is free, and pages of code.

    Code is read-only and a file's: what runs again is mapped again, from the page cache. Half of it never does.
    """
    _LIBC.malloc_trim(0)
    for line in _MAPS.read_text(errors="replace").splitlines():
        words = line.split()
        if words[1] == "r-xp" and words[-1].startswith("/"):
            begin, end = (int(word, 16) for word in words[0].split("-"))
            _LIBC.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _DONTNEED)
