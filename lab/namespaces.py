"""Paths to network namespaces: created, entered and removed without another process.

`unshare` and `setns` act on the calling thread alone, so each call here does its work in a thread of its own that then
ends: the caller's namespace never changes. A namespace lives as long as a file is bound to it, as `ip netns` does it.
"""

from __future__ import annotations

import ctypes
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CLONE_NEWNET = 0x40000000
MS_BIND = 4096
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)
Result = TypeVar("Result")


def _check(result: int, action: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        hint = (
            "run as root" if number == errno.EPERM else "is the kernel built with network namespaces (CONFIG_NET_NS)?"
        )
        raise LabError(f"cannot {action}: {os.strerror(number)}; {hint}")


def _in_thread(work: Callable[[], Result]) -> Result:
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="namespace") as pool:
        return pool.submit(work).result()


def enter(path: Path) -> None:
    """Move the calling thread, for good, into the namespace bound to `path`.

    Raises:
        LabError: not permitted, or no namespace there.
    """
    with path.open("rb") as file:
        _check(_libc.setns(file.fileno(), CLONE_NEWNET), f"enter the network namespace {path}")


def inside(path: Path, work: Callable[[], Result]) -> Result:
    """What `work` returns when it runs in the namespace bound to `path`."""

    def entered() -> Result:
        enter(path)
        return work()

    return _in_thread(entered)


def create(path: Path, sysctls: Mapping[str, str]) -> None:
    """Make a namespace with these values below /proc/sys/net, bound to a new file at `path`.

    Raises:
        LabError: not permitted, or the kernel lacks something.
        FileExistsError: something is at `path` already.
    """

    def made() -> None:
        _check(_libc.unshare(CLONE_NEWNET), f"create the network namespace {path}")
        for name, value in sysctls.items():
            Path("/proc/sys/net", name).write_text(value)
        path.touch(exist_ok=False)
        source = b"/proc/thread-self/ns/net"
        _check(_libc.mount(source, os.fsencode(path), b"none", MS_BIND, None), f"bind a network namespace to {path}")

    _in_thread(made)


def remove(path: Path) -> None:
    """Unbind the namespace at `path` and unlink the file; the kernel ends the namespace with its last user."""
    _libc.umount2(os.fsencode(path), MNT_DETACH)
    path.unlink(missing_ok=True)
