"""Names below the BPF file system to what they hold: programs, maps and links that outlive the collector.

    <KNI_BPFFS>/<node>/<layout>/xdp_ingress  table  flows_ring-<ring id>  link-xdp-2  counting_since-<ns>  …

A layout is one compilation: its name is a digest of the C sources and the sizes, so that pins of another version or of
other settings are never taken for ours. A directory is complete or absent: it is filled under another name and renamed.
The file system holds no bytes of ours, so facts that must survive a kill are names of empty directories. Names have no
dot: the kernel refuses it.
"""

import fcntl
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np

from collector import bpf_syscall
from collector.bpffs import BpffsError, exclusive, mount, mount_point, unmount

LOADING: Final = "loading"
"""A directory that a loader has not completed."""
LAYOUT_PREFIX: Final = "v"
"""Of a layout that counts; the version of its records and of its table follows."""
CLOSING: Final = "closing-"
"""Prefix of a layout that counts no more: what it holds still has to be sent."""
_RING_SUFFIX: Final = "_ring-"
_VALUE_BYTES_OFFSET: Final = 12
"""In struct bpf_map_info."""
_COUNTING_SINCE: Final = "counting_since-"


class LockedError(Exception):
    """Another collector of this node runs; the text is for the user."""


class PinsError(Exception):
    """What is pinned can't be used; the text is for the user."""


class NodeDirectory:
    """The node's directory of layouts, held by one process at a time."""

    def __init__(self, bpffs: Path, node: str) -> None:
        """Mounts the file system where it must. Raises: LockedError, BpffsError."""
        self.path = bpffs / node.replace(".", ":")
        self._bpffs = bpffs
        try:
            bpffs.mkdir(parents=True, exist_ok=True)
            with exclusive(bpffs.parent):
                if mount_point(bpffs) is None:
                    mount(bpffs)
                self.path.mkdir(mode=0o700, exist_ok=True)
                self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                self._hold(node)
        except OSError as error:
            raise BpffsError(
                f"KNI_BPFFS={bpffs} can't be used ({error.strerror}: {error.filename}): "
                "name a directory of a BPF file system that this user may write to"
            ) from error

    def _hold(self, node: str) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise LockedError(
                f"another collector of node {node} holds {self.path}: stop it first, "
                "or give this one another KNI_NODE if it is another node's"
            ) from error

    def layouts(self) -> list[str]:
        """The complete layouts; what a killed loader left is removed."""
        if (self.path / LOADING).exists():
            remove(self.path / LOADING)
        return sorted(entry.name for entry in self.path.iterdir() if entry.name.startswith((LAYOUT_PREFIX, CLOSING)))

    def close(self) -> None:
        """Give the node's directory up; it and a file system of our own go when nothing is left in them."""
        with exclusive(self._bpffs.parent):
            with suppress(OSError):
                self.path.rmdir()
            os.close(self._lock)
            if mount_point(self._bpffs) == self._bpffs and not any(self._entries()):
                unmount(self._bpffs)

    def _entries(self) -> Iterator[Path]:
        """What is in the file system, without the kernel's own two iterators (maps.debug, progs.debug)."""
        return (entry for entry in self._bpffs.iterdir() if "." not in entry.name)


class Pins:
    """One layout, open: a descriptor for each program and map. Facts are read and written as directories' names."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._descriptors: dict[str, int] = {}
        self.counting_since_ns: int | None = None
        """Monotonic time since which every packet at the hooks is counted; None: not yet."""
        self.ring_ids: dict[str, str] = {}
        """Ring (flows_ring, drops_ring) to its 128 random bits."""
        for entry in directory.iterdir():
            if entry.is_dir():
                since_ns = int(entry.name.removeprefix(_COUNTING_SINCE))
                self.counting_since_ns = max(since_ns, self.counting_since_ns or 0)
                continue
            if entry.name.startswith("link-"):
                continue
            name, _, ring_id = entry.name.partition("-")
            self._descriptors[name] = bpf_syscall.object_get(entry)
            if ring_id:
                self.ring_ids[name] = ring_id

    def __getitem__(self, name: str) -> int:
        """The descriptor of a program or map."""
        return self._descriptors[name]

    def __contains__(self, name: str) -> bool:
        return name in self._descriptors

    def check(self, dtypes: Mapping[str, np.dtype[np.void]]) -> None:
        """Raises: PinsError, unless each map's values are as large as what they are to be read as.

        A system call that copies a larger value than there is room for destroys this process's memory.
        """
        for name, dtype in dtypes.items():
            (size,) = struct.unpack_from("<I", bpf_syscall.object_info(self[name]), _VALUE_BYTES_OFFSET)
            if size != dtype.itemsize:
                raise PinsError(
                    f"{self.directory / name} holds values of {size} bytes where {dtype.itemsize} belong: pinned by "
                    "another version of the collector; stop it with its own, or run `kubenetinsight detach`"
                )

    def close(self) -> None:
        """Close all descriptors; the pins stay."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def retire(self) -> None:
        """Rename a layout that counts no more: the next start sends what it still holds, and begins with a new one."""
        if not self.directory.name.startswith(CLOSING):
            name = f"{CLOSING}{self.directory.name}-{self.ring_ids['flows_ring'][:8]}"
            self.directory = self.directory.rename(self.directory.with_name(name))

    def set_counting_since(self, now_ns: int) -> None:
        """Count from now on, without a gap."""
        (self.directory / f"{_COUNTING_SINCE}{now_ns}").mkdir(exist_ok=True)
        if self.counting_since_ns is not None and self.counting_since_ns < now_ns:
            (self.directory / f"{_COUNTING_SINCE}{self.counting_since_ns}").rmdir()
        self.counting_since_ns = now_ns


def ring_pin(ring: str, ring_id: str) -> str:
    """The name that a ring is pinned by."""
    return f"{ring.removesuffix('_ring')}{_RING_SUFFIX}{ring_id}"


def remove(layout: Path) -> None:
    """Unpin everything of a layout; what nobody holds open is gone from the kernel with it."""
    for entry in layout.iterdir():
        if entry.is_dir():
            entry.rmdir()
        else:
            entry.unlink()
    layout.rmdir()
