"""Directories to a fence around this process: the kernel lets it and its later threads touch nothing else.

Source: Documentation/userspace-api/landlock.rst and include/uapi/linux/landlock.h. No privilege is needed, and nothing
takes the fence down again. Threads that exist already stay outside: put it up before anything starts threads.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1
PR_SET_NO_NEW_PRIVS = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE = 1 << 13, 1 << 14
# Version 1 knows bits 0 to 12 and forbids all renames between directories, which ClickHouse needs.
LEAST_VERSION = 2
RIGHTS_OF_VERSION_2 = (1 << 14) - 1
# Rights that make sense on a file; the kernel refuses the others there.
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
READING = READ_FILE | READ_DIR

# What the C library, Python and the engine look up while they run; no directory with anybody's secrets.
LOOKED_UP = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/ssl/certs",
    "/etc/timezone",
    "/dev/null",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm",
    "/proc/self/auxv",
    "/proc/self/maps",
    "/proc/self/statm",
    "/proc/self/status",
    # The engine reads what each of its threads has used. Refused, it throws some nine times a statement, which costs
    # more than a small insert itself. The environment lies there, too: this process's holds no secrets.
    "/proc/self/task",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
)


def confine(writable: Path) -> bool:
    """Leave this thread and those it starts only `writable`, and reading what programs need; False: the kernel cannot.

    No program can be started afterwards, either.

    Raises:
        OSError: the kernel has Landlock and refuses.
    """
    version = _version()
    if version < LEAST_VERSION:
        return False
    handled = RIGHTS_OF_VERSION_2 | (TRUNCATE if version > LEAST_VERSION else 0)
    ruleset = _call(CREATE_RULESET, struct.pack("=Q", handled), 8, 0)
    try:
        _allow(ruleset, [writable], rights=handled & ~EXECUTE)
        _allow(ruleset, [*map(Path, LOOKED_UP), *_python()], rights=READING)
        _no_new_privileges()
        _call(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def _python() -> list[Path]:
    """Where modules are imported from: some only when they are first used."""
    return [Path(entry) for entry in (sys.prefix, *sys.path) if entry]


def _allow(ruleset: int, paths: Iterable[Path], *, rights: int) -> None:
    for path in paths:
        if not path.exists():
            continue
        # Kept open: procfs makes a new inode, which no rule knows, when the kernel has forgotten an entry.
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = rights if path.is_dir() else rights & FILE_RIGHTS
        _call(ADD_RULE, ruleset, RULE_PATH_BENEATH, struct.pack("=Qi", allowed, descriptor), 0)


def _version() -> int:
    """The kernel's version of Landlock; 0 where there is none, or it is switched off."""
    try:
        return _call(CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)
    except OSError:
        return 0


def _no_new_privileges() -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "prctl")


def _call(number: int, *arguments: int | bytes | None) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result = int(library.syscall(number, *(_word(argument) for argument in arguments)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"system call {number}")
    return result


def _word(argument: int | bytes | None) -> ctypes.c_long | ctypes.c_char_p:
    return ctypes.c_long(argument) if isinstance(argument, int) else ctypes.c_char_p(argument)
