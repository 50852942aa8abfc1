"""Files of a directory of network namespaces to the set that a node watches, with what joins and what leaves it.

A container runtime keeps each pod's namespace under a name in such a directory (`/run/netns`): the file is made first
and becomes the namespace by a bind mount up to some milliseconds later. No event tells of the mount, so a file that is
none yet is looked at again for a second. The directory may come, go and come again.
"""

import contextlib
import ctypes
import errno
import os
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

OWN_NAMESPACE: Final = Path("/proc/self/ns/net")
PATIENCE_NS: Final = 10**9
"""How long a file may take to become a namespace."""

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_EVENTS: Final = 0x40 | 0x80 | 0x100 | 0x200 | 0x400
"""IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF (linux/inotify.h)"""
_NONBLOCK: Final = os.O_NONBLOCK | os.O_CLOEXEC


class Watched(IntEnum):
    """enum kni_watched: the value of an inode in the map watched_netns."""

    NODE = 1
    POD = 2


class NetnsChanges(NamedTuple):
    """What to write into the map watched_netns, and what to delete from it."""

    added: dict[int, Watched]
    removed: frozenset[int]


class NotANamespaceError(Exception):
    """A path given for network namespaces leads to none; the text is for the user."""


class NetnsDirectory:
    """The node's own namespace and those in a directory, by inode."""

    def __init__(self, directory: Path, node: Path = OWN_NAMESPACE) -> None:
        """Raises: NotANamespaceError."""
        if directory.exists() and not directory.is_dir():
            raise NotANamespaceError(f"KNI_NETNS_DIR={directory} is no directory; give one such as /run/netns")
        self._directory: Final = directory
        self._nsfs: Final = OWN_NAMESPACE.stat().st_dev
        self._own: Final = self._inode_of(node)
        self._watched: dict[int, Watched] = {}
        self._waiting_since: dict[str, int] = {}
        self._is_waiting = False
        self._inotify: Final = _open_inotify()
        self._listen()

    def close(self) -> None:
        """Stop listening to the directory."""
        os.close(self._inotify)

    def fileno(self) -> int:
        """Descriptor that becomes readable when the directory changed: then call `refresh`."""
        return self._inotify

    @property
    def is_waiting(self) -> bool:
        """Is a new file not a namespace yet? Then call `refresh` again within milliseconds."""
        return self._is_waiting

    def refresh(self, now_ns: int) -> NetnsChanges:
        """What changed since the last call; `now_ns` is of any clock that never goes back.

        The first call brings all there is. Call it every second even without an event: a directory that did not exist
        cannot announce itself. An inode that several files name leaves with the last of them.
        """
        self._forget_events()
        self._listen()
        found = dict.fromkeys(self._scan(now_ns), Watched.POD) | {self._own: Watched.NODE}
        added = {inode: kind for inode, kind in found.items() if inode not in self._watched}
        removed = frozenset(self._watched.keys() - found.keys())
        self._watched = found
        return NetnsChanges(added, removed)

    def _inode_of(self, node: Path) -> int:
        try:
            status = node.stat()
        except OSError as error:
            raise NotANamespaceError(f"the node's network namespace {node} cannot be read: {error.strerror}") from error
        if status.st_dev != self._nsfs:
            raise NotANamespaceError(f"{node} is no network namespace; give a path such as /run/netns/NAME")
        return status.st_ino

    def _listen(self) -> None:
        """Ask for events of the directory; for one that is listened to already this changes nothing."""
        if _LIBC.inotify_add_watch(self._inotify, os.fsencode(self._directory), _EVENTS) < 0:
            code = ctypes.get_errno()
            if code not in {errno.ENOENT, errno.ENOTDIR}:
                raise OSError(code, os.strerror(code), str(self._directory))

    def _forget_events(self) -> None:
        """Events only wake up: what is there now is read from the directory itself."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._inotify, 65_536):
                pass

    def _scan(self, now_ns: int) -> list[int]:
        """Inodes of the directory's namespaces; notes which files are none yet."""
        inodes: list[int] = []
        others: dict[str, int] = {}
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if status.st_dev == self._nsfs:
                    inodes.append(status.st_ino)
                else:
                    others[path.name] = self._waiting_since.get(path.name, now_ns)
        self._waiting_since = others
        self._is_waiting = any(now_ns - since < PATIENCE_NS for since in others.values())
        return inodes

    def _files(self) -> list[Path]:
        try:
            return list(self._directory.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []


def _open_inotify() -> int:
    descriptor: int = _LIBC.inotify_init1(_NONBLOCK)
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{os.strerror(code)}: no inotify instance; raise fs.inotify.max_user_instances")
    return descriptor
