"""Somebody else's XDP or TC program to a pin: two instructions, loaded by bpf(2) itself."""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collector import bpf_syscall
from collector.bpffs import mount, unmount

PROGRAM_LOAD = 5
SYSCALL = {"x86_64": 321, "aarch64": 280}
KINDS = {"xdp": (6, 2), "tc": (3, -1), "tc-ok": (3, 0)}
"""enum bpf_prog_type; XDP_PASS, TC_ACT_UNSPEC, TC_ACT_OK: no program behind it sees the packet."""


@contextmanager
def foreign_program(directory: Path, kind: str) -> Iterator[Path]:
    """The pin of a program called `foreign` that lets every packet pass."""
    directory.mkdir()
    mount(directory)
    try:
        pin = directory / kind
        descriptor = _load(*KINDS[kind])
        bpf_syscall.object_pin(descriptor, pin)
        os.close(descriptor)
        yield pin
    finally:
        assert unmount(directory)


def _load(program_type: int, answer: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xB7, 0, 0, answer, 0x95, 0, 0, 0))
    licence = ctypes.create_string_buffer(b"GPL")
    where = (ctypes.addressof(instructions), ctypes.addressof(licence))
    attributes = struct.pack("<IIQQIIQII16sII", program_type, 2, *where, 0, 0, 0, 0, 0, b"foreign", 0, 0)
    machine = SYSCALL[os.uname().machine]
    descriptor = libc.syscall(machine, PROGRAM_LOAD, ctypes.create_string_buffer(attributes), len(attributes))
    assert descriptor >= 0, ctypes.get_errno()
    return int(descriptor)
