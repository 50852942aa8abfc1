"""Interfaces to slots: the numbers that the kernel side keeps its totals under.

A slot outlives its interface: totals of one that is gone are still to be told, and its records are still in the ring.
It is given away again only when no other is free, the longest unused first. All of it is in the kernel's maps, so who
comes after a restart finds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from collector import bpf_syscall
from collector.pins import Pins
from collector.records import HOOK_TOTAL, INTERFACE, SLOT

SLOTS: Final = 512
NO_SLOT: Final = 0
"""Where the kernel side counts interfaces that have no slot of their own."""

_INLINE: Final = 1 << 16
_FREE: Final = bytes(8)
_KNOWN_NAMES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Slot:
    """An interface's place in the kernel's maps."""

    number: int
    ifindex: int
    kind: int
    name: str
    counting_since_ns: int
    """Monotonic."""


class Slots:
    """Which interface has which slot, in this process and in the kernel's maps."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self.all: dict[int, Slot] = {}
        """By number: all that were ever given and not given away again, gone interfaces' too."""
        self._gone: dict[int, None] = {}
        self._names: dict[int, str] = {}
        for number in range(1, SLOTS):
            value = bpf_syscall.map_lookup(pins["interfaces"], _key(number), INTERFACE.itemsize)
            (found,) = np.frombuffer(value, INTERFACE)
            if found["ifindex"]:
                self._keep(
                    Slot(
                        number,
                        int(found["ifindex"]),
                        int(found["interface_kind"]),
                        found["name"].decode(errors="replace"),
                        int(found["counting_since_ns"]),
                    )
                )

    @property
    def names(self) -> Mapping[int, str]:
        """Names by ifindex, of interfaces that are gone too."""
        return self._names

    def of(self, ifindex: int) -> Slot | None:
        """The slot of an interface."""
        return next((slot for slot in self.all.values() if slot.ifindex == ifindex), None)

    def give(self, ifindex: int, *, kind: int, name: str, now_ns: int) -> Slot:
        """The interface's slot, the one it had before a restart or a new one; NO_SLOT when all are taken."""
        known = self.of(ifindex)
        number = known.number if known else self._next_free()
        since_ns = known.counting_since_ns if known else now_ns
        slot = Slot(number, ifindex, kind, name, since_ns)
        self._names[ifindex] = name
        if number != NO_SLOT:
            self._keep(slot)
            self._gone.pop(number, None)
            self._write(slot)
        return slot

    def release(self, ifindex: int) -> None:
        """The interface is gone; its totals stay until the slot is needed."""
        slot = self.of(ifindex)
        if slot is not None:
            self._gone[slot.number] = None

    def _keep(self, slot: Slot) -> None:
        self.all[slot.number] = slot
        if len(self._names) >= _KNOWN_NAMES:
            self._names.pop(next(iter(self._names)))
        self._names[slot.ifindex] = slot.name

    def _next_free(self) -> int:
        for number in range(1, SLOTS):
            if number not in self.all:
                return number
        if not self._gone:
            return NO_SLOT
        number = next(iter(self._gone))
        self._take_away(self.all.pop(number))
        return number

    def _take_away(self, slot: Slot) -> None:
        """Empty a slot: no packet finds it, its totals begin at zero."""
        place = _key(slot.ifindex % _INLINE)
        inline = np.frombuffer(bpf_syscall.map_lookup(self._pins["slots"], place, SLOT.itemsize), SLOT)[0]
        if inline["ifindex"] == slot.ifindex:
            bpf_syscall.map_update(self._pins["slots"], place, _FREE)
        else:
            bpf_syscall.map_delete(self._pins["crowded_slots"], _key(slot.ifindex))
        zeros = bytes(bpf_syscall.possible_cpus() * HOOK_TOTAL.itemsize)
        for direction in range(2):
            bpf_syscall.map_update(self._pins["hook_totals"], _key(slot.number * 2 + direction), zeros)

    def _write(self, slot: Slot) -> None:
        described = (slot.counting_since_ns, slot.ifindex, slot.kind, 0, slot.name.encode()[:15])
        value = np.array([described], INTERFACE).tobytes()
        bpf_syscall.map_update(self._pins["interfaces"], _key(slot.number), value)
        place = _key(slot.ifindex % _INLINE)
        inline = np.frombuffer(bpf_syscall.map_lookup(self._pins["slots"], place, SLOT.itemsize), SLOT)[0]
        entry = np.array([(slot.ifindex, slot.number, slot.kind, 0)], SLOT).tobytes()
        if inline["ifindex"] in {0, slot.ifindex}:
            bpf_syscall.map_update(self._pins["slots"], place, entry)
        else:
            bpf_syscall.map_update(self._pins["crowded_slots"], _key(slot.ifindex), entry)


def _key(number: int) -> bytes:
    return number.to_bytes(4, "little")
