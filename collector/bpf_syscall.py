"""The bpf(2) system call to Python functions: the one file that makes it.

Attributes are packed as the kernel's `union bpf_attr` (include/uapi/linux/bpf.h) has them, and no longer than a command
needs. What the kernel refuses is an OSError with its code and the command's name. Descriptors are
the caller's to close.
"""

import ctypes
import mmap
import os
import struct
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

_BPF: Final = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
_MEMBARRIER: Final = {"x86_64": 324, "aarch64": 283}[os.uname().machine]
_MEMBARRIER_GLOBAL: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_INFO_BYTES: Final = 256

_QUERY_LIMIT: Final = 64
_ENOENT: Final = 2


class Command(IntEnum):
    """enum bpf_cmd, as far as it is used here."""

    MAP_LOOKUP = 1
    MAP_UPDATE = 2
    MAP_DELETE = 3
    OBJECT_PIN = 6
    OBJECT_GET = 7
    TEST_RUN = 10
    OBJECT_INFO = 15
    PROGRAM_QUERY = 16
    RAW_TRACEPOINT_OPEN = 17
    MAP_FREEZE = 22
    MAP_LOOKUP_BATCH = 24
    LINK_CREATE = 28
    LINK_UPDATE = 29
    LINK_DETACH = 34


def _call(command: Command, attributes: bytes) -> tuple[int, bytes]:
    """The result, and the attributes as the kernel leaves them."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = _LIBC.syscall(_BPF, command, buffer, len(attributes))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"bpf {command.name}: {os.strerror(code)}")
    return int(result), buffer.raw


def _buffer(content: bytes) -> "ctypes.Array[ctypes.c_char]":
    return ctypes.create_string_buffer(content, max(len(content), 1))


def object_get(path: Path) -> int:
    """A descriptor of what is pinned at `path`."""
    name = _buffer(os.fsencode(path) + b"\0")
    return _call(Command.OBJECT_GET, struct.pack("<QII", ctypes.addressof(name), 0, 0))[0]


def object_pin(descriptor: int, path: Path) -> None:
    """Pin a program, map or link."""
    name = _buffer(os.fsencode(path) + b"\0")
    _call(Command.OBJECT_PIN, struct.pack("<QII", ctypes.addressof(name), descriptor, 0))


def object_info(descriptor: int) -> bytes:
    """What the kernel tells: struct bpf_prog_info, bpf_map_info or bpf_link_info."""
    info = ctypes.create_string_buffer(_INFO_BYTES)
    _, after = _call(Command.OBJECT_INFO, struct.pack("<IIQ", descriptor, _INFO_BYTES, ctypes.addressof(info)))
    return info.raw[: struct.unpack_from("<I", after, 4)[0]]


def map_entries(descriptor: int) -> int:
    """How many entries a map has, or may have; of a ring, its bytes."""
    return int(struct.unpack_from("<I", object_info(descriptor), 16)[0])


def map_lookup(descriptor: int, key: bytes, value_bytes: int) -> bytes:  # noqa: PLR0917 - as in the kernel's manual
    """The value of a key; a per-CPU map's is one value of each possible CPU, 8 bytes aligned. ENOENT: none."""
    wanted, value = _buffer(key), ctypes.create_string_buffer(value_bytes)
    _call(
        Command.MAP_LOOKUP, struct.pack("<IIQQQ", descriptor, 0, ctypes.addressof(wanted), ctypes.addressof(value), 0)
    )
    return value.raw


def map_update(descriptor: int, key: bytes, value: bytes) -> None:  # noqa: PLR0917 - as in the kernel's manual
    """Set the value of a key."""
    wanted, new = _buffer(key), _buffer(value)
    _call(Command.MAP_UPDATE, struct.pack("<IIQQQ", descriptor, 0, ctypes.addressof(wanted), ctypes.addressof(new), 0))


def map_delete(descriptor: int, key: bytes) -> None:
    """Remove a key. ENOENT: it is not there."""
    wanted = _buffer(key)
    _call(Command.MAP_DELETE, struct.pack("<IIQQQ", descriptor, 0, ctypes.addressof(wanted), 0, 0))


def map_lookup_batch(  # noqa: PLR0917 - as in the kernel's manual
    descriptor: int, limit: int, key_bytes: int, value_bytes: int
) -> tuple[bytes, bytes]:
    """Keys and values of a whole hash of at most `limit` entries (5.6)."""
    # Not zeroed: of pages that nothing is written to, there are none.
    keys, values = np.empty(limit * key_bytes, np.uint8), np.empty(limit * value_bytes, np.uint8)
    place = np.empty(max(key_bytes, 8), np.uint8)
    addresses = (place.ctypes.data, keys.ctypes.data, values.ctypes.data)
    count = _batch(struct.pack("<QQQQIIQQ", 0, *addresses, limit, descriptor, 0, 0))
    return keys[: count * key_bytes].tobytes(), values[: count * value_bytes].tobytes()


def array_of_cpus(descriptor: int, dtype: np.dtype[np.void], *, entries: int) -> npt.NDArray[np.void]:
    """All values of a per-CPU array by one system call: shape (entries, CPUs)."""
    cpus = possible_cpus()
    keys, values = np.zeros(entries, "<u4"), np.zeros((entries, cpus, -(-dtype.itemsize // 8) * 8), np.uint8)
    place = np.zeros(1, "<u8")
    addresses = (place.ctypes.data, keys.ctypes.data, values.ctypes.data)
    _batch(struct.pack("<QQQQIIQQ", 0, *addresses, entries, descriptor, 0, 0))
    return np.ascontiguousarray(values[:, :, : dtype.itemsize]).view(dtype)[:, :, 0]


def _batch(attributes: bytes) -> int:
    """Looks up what fits; the number of entries found. That the map ends there is no error."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    if _LIBC.syscall(_BPF, Command.MAP_LOOKUP_BATCH, buffer, len(attributes)) < 0:
        code = ctypes.get_errno()
        if code != _ENOENT:
            raise OSError(code, f"bpf MAP_LOOKUP_BATCH: {os.strerror(code)}")
    return int(struct.unpack_from("<I", buffer.raw, 32)[0])


def map_freeze(descriptor: int) -> None:
    """Nobody writes to the map from user space any more."""
    _call(Command.MAP_FREEZE, struct.pack("<I", descriptor))


def test_run(program: int, frame: bytes, *, repeat: int) -> int:
    """Run a program on a frame; what it returned last. A signal ends it early, between two runs."""
    return _test_run(program, frame, repeat=repeat, context=b"")[0]


def test_run_in_context(program: int, frame: bytes, *, context: bytes) -> int:
    """Run a program once, with the first bytes of its struct __sk_buff given."""
    return _test_run(program, frame, repeat=1, context=context)[0]


def timed_test_run(program: int, frame: bytes, *, repeat: int) -> int:
    """Nanoseconds a run, by the kernel's clock."""
    return _test_run(program, frame, repeat=repeat, context=b"")[1]


def _test_run(program: int, frame: bytes, *, repeat: int, context: bytes) -> tuple[int, int]:
    given, beside = _buffer(frame), _buffer(context)
    attributes = struct.pack(
        "<IIIIQQIIIIQQIII",
        *(program, 0, len(frame), 0, ctypes.addressof(given), 0, repeat, 0),
        *(len(context), 0, ctypes.addressof(beside) if context else 0, 0, 0, 0, 0),
    )
    _, after = _call(Command.TEST_RUN, attributes)
    returned, duration = struct.unpack_from("<I28xI", after, 4)
    return int(returned), int(duration)


def raw_tracepoint_open(name: str, program: int) -> int:
    """Attach a program to a tracepoint: a link, which goes with its last descriptor or pin."""
    text = _buffer(name.encode() + b"\0")
    return _call(Command.RAW_TRACEPOINT_OPEN, struct.pack("<QIIQ", ctypes.addressof(text), program, 0, 0))[0]


def link_create(program: int, ifindex: int, *, attach_type: int, flags: int = 0) -> int:
    """Attach a program to an interface of the calling thread's network namespace: a link."""
    return _call(Command.LINK_CREATE, struct.pack("<IIIIIIQ", program, ifindex, attach_type, flags, 0, 0, 0))[0]


def link_update(link: int, program: int) -> None:
    """Put another program into a link's place, in one step."""
    _call(Command.LINK_UPDATE, struct.pack("<IIII", link, program, 0, 0))


def link_detach(link: int) -> None:
    """Detach a link from where it is; descriptors and pins of it stay."""
    _call(Command.LINK_DETACH, struct.pack("<I", link))


def program_query(ifindex: int, attach_type: int) -> list[tuple[int, int]]:
    """(program id, link id) of what is attached to an interface of the calling thread's namespace, in order (TCX)."""
    programs, links = (ctypes.c_uint32 * _QUERY_LIMIT)(), (ctypes.c_uint32 * _QUERY_LIMIT)()
    attributes = struct.pack(
        "<IIIIQIIQQQQ",
        *(ifindex, attach_type, 0, 0, ctypes.addressof(programs), _QUERY_LIMIT, 0),
        *(0, ctypes.addressof(links), 0, 0),
    )
    _, after = _call(Command.PROGRAM_QUERY, attributes)
    count = struct.unpack_from("<I", after, 24)[0]
    return list(zip(programs[:count], links[:count], strict=True))


def membarrier_global() -> None:
    """Return when every CPU has left what it was running: an RCU grace period, 8 to 24 ms asleep."""
    if _LIBC.syscall(_MEMBARRIER, _MEMBARRIER_GLOBAL, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "membarrier")


@cache
def possible_cpus() -> int:
    """How many values a per-CPU map has; it never changes while a kernel runs."""
    text = Path("/sys/devices/system/cpu/possible").read_text("ascii").strip()
    return int(text.rpartition("-")[2].rpartition(",")[2]) + 1


def map_memory(descriptor: int, size: int, *, offset: int = 0, is_writable: bool = True) -> mmap.mmap:
    """A map's own memory (BPF_F_MMAPABLE, ring buffers), rounded up to whole pages."""
    pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if is_writable else 0)
    return mmap.mmap(descriptor, pages, mmap.MAP_SHARED, protection, offset=offset)
