"""The bpf(2) system call to Python functions: the one file that makes it.

Attributes are packed as the kernel's `union bpf_attr` (include/uapi/linux/bpf.h) has them, and no longer than a command
needs. All functions raise OSError with the kernel's code. Descriptors are the caller's to close.
"""

import ctypes
import mmap
import os
import struct
from pathlib import Path
from typing import Final

_BPF: Final = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
_MEMBARRIER: Final = {"x86_64": 324, "aarch64": 283}[os.uname().machine]
_MEMBARRIER_GLOBAL: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_INFO_BYTES: Final = 256

_MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE = 1, 2, 3
_OBJ_PIN, _OBJ_GET, _TEST_RUN, _INFO_BY_FD, _PROG_QUERY, _RAW_TRACEPOINT_OPEN = 6, 7, 10, 15, 16, 17
_MAP_FREEZE, _LOOKUP_BATCH, _LINK_CREATE, _LINK_UPDATE, _LINK_DETACH = 22, 24, 28, 29, 34
_QUERY_LIMIT: Final = 64
_ENOENT: Final = 2


def _call(command: int, attributes: bytes) -> tuple[int, bytes]:
    """The result, and the attributes as the kernel leaves them."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = _LIBC.syscall(_BPF, command, buffer, len(attributes))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result, buffer.raw


def _buffer(content: bytes) -> "ctypes.Array[ctypes.c_char]":
    return ctypes.create_string_buffer(content, max(len(content), 1))


def object_get(path: Path) -> int:
    """A descriptor of what is pinned at `path`."""
    name = _buffer(os.fsencode(path) + b"\0")
    return _call(_OBJ_GET, struct.pack("<QII", ctypes.addressof(name), 0, 0))[0]


def object_pin(descriptor: int, path: Path) -> None:
    """Pin a program, map or link."""
    name = _buffer(os.fsencode(path) + b"\0")
    _call(_OBJ_PIN, struct.pack("<QII", ctypes.addressof(name), descriptor, 0))


def object_info(descriptor: int) -> bytes:
    """What the kernel tells: struct bpf_prog_info, bpf_map_info or bpf_link_info."""
    info = ctypes.create_string_buffer(_INFO_BYTES)
    _, after = _call(_INFO_BY_FD, struct.pack("<IIQ", descriptor, _INFO_BYTES, ctypes.addressof(info)))
    return info.raw[: struct.unpack_from("<I", after, 4)[0]]


def map_lookup(descriptor: int, key: bytes, value_bytes: int) -> bytes:  # noqa: PLR0917 - as in the kernel's manual
    """The value of a key; a per-CPU map's is one value of each possible CPU, 8 bytes aligned. ENOENT: none."""
    wanted, value = _buffer(key), ctypes.create_string_buffer(value_bytes)
    _call(_MAP_LOOKUP, struct.pack("<IIQQQ", descriptor, 0, ctypes.addressof(wanted), ctypes.addressof(value), 0))
    return value.raw


def map_update(descriptor: int, key: bytes, value: bytes) -> None:  # noqa: PLR0917 - as in the kernel's manual
    """Set the value of a key."""
    wanted, new = _buffer(key), _buffer(value)
    _call(_MAP_UPDATE, struct.pack("<IIQQQ", descriptor, 0, ctypes.addressof(wanted), ctypes.addressof(new), 0))


def map_delete(descriptor: int, key: bytes) -> None:
    """Remove a key. ENOENT: it is not there."""
    wanted = _buffer(key)
    _call(_MAP_DELETE, struct.pack("<IIQQQ", descriptor, 0, ctypes.addressof(wanted), 0, 0))


def map_lookup_batch(  # noqa: PLR0917 - as in the kernel's manual
    descriptor: int, limit: int, key_bytes: int, value_bytes: int
) -> tuple[bytes, bytes]:
    """Keys and values of a whole hash of at most `limit` entries (5.6)."""
    keys, values = ctypes.create_string_buffer(limit * key_bytes), ctypes.create_string_buffer(limit * value_bytes)
    place = ctypes.create_string_buffer(max(key_bytes, 8))
    attributes = struct.pack(
        "<QQQQIIQQ",
        *(0, ctypes.addressof(place), ctypes.addressof(keys), ctypes.addressof(values)),
        *(limit, descriptor, 0, 0),
    )
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    if _LIBC.syscall(_BPF, _LOOKUP_BATCH, buffer, len(attributes)) < 0 and (code := ctypes.get_errno()) != _ENOENT:
        raise OSError(code, os.strerror(code))
    count = struct.unpack_from("<I", buffer.raw, 32)[0]
    return keys.raw[: count * key_bytes], values.raw[: count * value_bytes]


def map_freeze(descriptor: int) -> None:
    """Nobody writes to the map from user space any more."""
    _call(_MAP_FREEZE, struct.pack("<I", descriptor))


def test_run(program: int, frame: bytes, *, repeat: int) -> int:
    """Run a program on a frame; what it returned last."""
    given = _buffer(frame)
    attributes = struct.pack(
        "<IIIIQQIIIIQQIII", program, 0, len(frame), 0, ctypes.addressof(given), 0, repeat, *(0,) * 8
    )
    _, after = _call(_TEST_RUN, attributes)
    return int(struct.unpack_from("<I", after, 4)[0])


def raw_tracepoint_open(name: str, program: int) -> int:
    """Attach a program to a tracepoint: a link, which goes with its last descriptor or pin."""
    text = _buffer(name.encode() + b"\0")
    return _call(_RAW_TRACEPOINT_OPEN, struct.pack("<QIIQ", ctypes.addressof(text), program, 0, 0))[0]


def link_create(program: int, ifindex: int, *, attach_type: int, flags: int = 0) -> int:
    """Attach a program to an interface of the calling thread's network namespace: a link."""
    return _call(_LINK_CREATE, struct.pack("<IIIIIIQ", program, ifindex, attach_type, flags, 0, 0, 0))[0]


def link_update(link: int, program: int) -> None:
    """Put another program into a link's place, in one step."""
    _call(_LINK_UPDATE, struct.pack("<IIII", link, program, 0, 0))


def link_detach(link: int) -> None:
    """Detach a link from where it is; descriptors and pins of it stay."""
    _call(_LINK_DETACH, struct.pack("<I", link))


def program_query(ifindex: int, attach_type: int) -> list[tuple[int, int]]:
    """(program id, link id) of what is attached to an interface of the calling thread's namespace, in order (TCX)."""
    programs, links = (ctypes.c_uint32 * _QUERY_LIMIT)(), (ctypes.c_uint32 * _QUERY_LIMIT)()
    attributes = struct.pack(
        "<IIIIQIIQQQQ",
        *(ifindex, attach_type, 0, 0, ctypes.addressof(programs), _QUERY_LIMIT, 0),
        *(0, ctypes.addressof(links), 0, 0),
    )
    _, after = _call(_PROG_QUERY, attributes)
    count = struct.unpack_from("<I", after, 24)[0]
    return list(zip(programs[:count], links[:count], strict=True))


def membarrier_global() -> None:
    """Return when every CPU has left what it was running: an RCU grace period, 8 to 24 ms asleep."""
    if _LIBC.syscall(_MEMBARRIER, _MEMBARRIER_GLOBAL, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "membarrier")


def possible_cpus() -> int:
    """How many values a per-CPU map has."""
    text = Path("/sys/devices/system/cpu/possible").read_text("ascii").strip()
    return int(text.rpartition("-")[2].rpartition(",")[2]) + 1


def map_memory(descriptor: int, size: int, *, offset: int = 0, is_writable: bool = True) -> mmap.mmap:
    """A map's own memory (BPF_F_MMAPABLE, ring buffers), rounded up to whole pages."""
    pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if is_writable else 0)
    return mmap.mmap(descriptor, pages, mmap.MAP_SHARED, protection, offset=offset)
