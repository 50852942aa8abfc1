"""This process's libraries to allocators that keep little for themselves: import it before Arrow and numpy.

Each reads its environment once, when it is loaded. Arrow's own allocators hold 4 to 10 MB back and are no faster with a
handful of batches; numpy's BLAS, which nothing here computes with, starts a thread for each processor; glibc gives
threads arenas of their own.
"""

import ctypes
import os

_ARENA_MAX = -8
"""M_ARENA_MAX, malloc.h"""

os.putenv("ARROW_DEFAULT_MEMORY_POOL", "system")
os.putenv("OPENBLAS_NUM_THREADS", "1")
_LIBC = ctypes.CDLL(None)
_LIBC.mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Return to the kernel what is free: what a start needed once, nothing needs again."""
    _LIBC.malloc_trim(0)
