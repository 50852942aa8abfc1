"""Programs to pinned BPF links: XDP and TCX, taken over from an earlier process or made new.

A link goes with its last descriptor, so each is pinned at once. A link whose device was deleted stays as a pin of
nothing; one whose device moved to another namespace goes on counting there until it is detached.
"""

import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collector import bpf_syscall

XDP: Final = "xdp"
TCX: Final = ("tcx_in", "tcx_out")
_ATTACH_TYPES: Final = {XDP: 37, "tcx_in": 46, "tcx_out": 47}
"""enum bpf_attach_type"""
_FLAGS: Final = {XDP: 4, "tcx_in": 8, "tcx_out": 8}
"""XDP_FLAGS_DRV_MODE; BPF_F_BEFORE with no program named: before all others."""
_IFINDEX_OFFSETS: Final = {6: 16, 11: 16}
"""In struct bpf_link_info, by enum bpf_link_type: XDP, TCX."""


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """What the kernel says of a link; `ifindex` 0: its device is gone."""

    program_id: int
    ifindex: int


def pin_name(hook: str, ifindex: int) -> str:
    """The name that a link is pinned by."""
    return f"link-{hook}-{ifindex}"


def program_id(descriptor: int) -> int:
    """The kernel's identifier of a program."""
    return int(struct.unpack_from("<I", bpf_syscall.object_info(descriptor), 4)[0])


def facts_of(descriptor: int) -> LinkFacts:
    """What the kernel says of an open link."""
    content = bpf_syscall.object_info(descriptor)
    kind, _, program = struct.unpack_from("<III", content)
    offset = _IFINDEX_OFFSETS.get(kind)
    return LinkFacts(program, struct.unpack_from("<I", content, offset)[0] if offset else 0)


class Links:
    """The pinned links of one layout, and those of the node's other layouts to be taken over."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def attach(self, hook: str, ifindex: int, *, program: int) -> bool:
        """Have a program (descriptor) at a hook; True: a link was there already, so no packet passed uncounted.

        The calling thread must be in the node's network namespace.

        Raises: OSError, the kernel's answer: EBUSY or EEXIST where somebody else's XDP program is.
        """
        pin = self._directory / pin_name(hook, ifindex)
        for found in self._directory.parent.glob(f"*/{pin.name}"):
            if self._take_over(found, pin, program=program):
                return True
        descriptor = bpf_syscall.link_create(program, ifindex, attach_type=_ATTACH_TYPES[hook], flags=_FLAGS[hook])
        try:
            bpf_syscall.object_pin(descriptor, pin)
        finally:
            os.close(descriptor)
        return False

    def detach(self, hook: str, ifindex: int) -> None:
        """Count at a hook no more, wherever its device went; nothing happens where there is no link."""
        detach_pin(self._directory / pin_name(hook, ifindex))

    def tcx_programs(self, ifindex: int) -> dict[str, list[int]]:
        """TCX hook to identifiers of the programs there in their order, ours among them; nothing before Linux 6.6.

        The calling thread must be in the node's network namespace.
        """
        found: dict[str, list[int]] = {}
        with suppress(OSError):
            for hook in TCX:
                found[hook] = [program for program, _ in bpf_syscall.program_query(ifindex, _ATTACH_TYPES[hook])]
        return found

    def _take_over(self, found: Path, pin: Path, *, program: int) -> bool:
        descriptor = bpf_syscall.object_get(found)
        try:
            facts = facts_of(descriptor)
            if not facts.ifindex:
                found.unlink()
                return False
            if facts.program_id != program_id(program):
                bpf_syscall.link_update(descriptor, program)
            if found != pin:
                bpf_syscall.object_pin(descriptor, pin)
                found.unlink()
        finally:
            os.close(descriptor)
        return True


def detach_pin(pin: Path) -> None:
    """Detach a pinned link from where it is, and unpin it."""
    with suppress(FileNotFoundError):
        descriptor = bpf_syscall.object_get(pin)
        with suppress(OSError):  # its device is gone: there is nothing to detach from
            bpf_syscall.link_detach(descriptor)
        os.close(descriptor)
        pin.unlink()
