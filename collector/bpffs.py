"""Directory to mounted BPF file system, and back: where pins outlive the process that made them."""

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_TYPE: Final = "bpf"


class BpffsError(Exception):
    """There is no BPF file system where one must be; the text is for the user."""


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Nobody else mounts or unmounts below `directory` meanwhile: of two collectors that start at once one mounts."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def mount_point(path: Path) -> Path | None:
    """Where the BPF file system is mounted that `path` is in; None: it is in none."""
    best, kind = Path("/"), ""
    for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines():
        before, _, after = line.partition(" - ")
        candidate = Path(before.split()[4].replace("\\040", " "))
        if path.is_relative_to(candidate) and len(candidate.parts) >= len(best.parts):
            best, kind = candidate, after.split()[0]
    return best if kind == _TYPE else None


def mount(path: Path) -> None:
    """Mount a BPF file system that only this user may enter. Raises: BpffsError."""
    if _LIBC.mount(b"bpf", os.fsencode(path), _TYPE.encode(), 0, b"mode=0700"):
        reason = os.strerror(ctypes.get_errno())
        raise BpffsError(
            f"{path} is not on a BPF file system and none can be mounted there ({reason}): "
            f"mount it beforehand (mount -t bpf bpf {path}) or set KNI_BPFFS to a directory of one"
        )


def unmount(path: Path) -> bool:
    """Unmount it unless someone uses it; False: it stays."""
    if _LIBC.umount2(os.fsencode(path), 0) == 0:
        return True
    code = ctypes.get_errno()
    if code in {errno.EBUSY, errno.EPERM, errno.EINVAL}:
        return False
    raise OSError(code, os.strerror(code), str(path))
