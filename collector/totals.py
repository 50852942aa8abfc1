"""The kernel's hook totals to Arrow rows in a batch's header: what each hook saw, for records to be checked against.

Cumulative and exact, per interface and direction. Reading costs a system call a row, so it happens at most once a
second; only rows that changed travel, and now and then all of them, for who has just begun to listen.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from collector import bpf_syscall
from collector.batches import to_numbers, to_strings
from collector.pins import Pins
from collector.records import HOOK_TOTAL
from collector.slots import NO_SLOT, Slot, Slots
from schemas.interface_totals import OUTCOMES, PROTOCOL_CLASSES, SCHEMA, SIZE_BUCKETS, write_totals

_READ_NS: Final = 10**9
_ALL_NS: Final = 30 * 10**9
_DIRECTIONS: Final = 2
_UNITS: Final = ("frames", "packets", "bytes")
_NOWHERE: Final = Slot(NO_SLOT, ifindex=0, kind=0, name="", counting_since_ns=0)


class Reading(NamedTuple):
    """Totals of all slots; row n of `values` belongs to `slots[n // 2]`, direction n % 2."""

    slots: list[Slot]
    values: npt.NDArray[np.void]
    """Of dtype HOOK_TOTAL, summed over CPUs."""


class Totals:
    """The hook totals of one layout, and which of them were told."""

    def __init__(self, pins: Pins, slots: Slots, *, hook_of: Callable[[int, int], str]) -> None:
        """`hook_of` (ifindex, direction) says xdp, tc or tcx."""
        self._map = pins["hook_totals"]
        self._slots = slots
        self._hook_of = hook_of
        self._hooks: dict[tuple[int, int], str] = {}
        self._cpus = bpf_syscall.possible_cpus()
        self._read_ns = -_READ_NS
        self._all_told_ns = -_ALL_NS
        self._told: dict[tuple[int, int], bytes] = {}
        self.reading = Reading([], np.zeros(0, HOOK_TOTAL))
        """The last one: at most a second old while batches go out."""

    def read(self) -> Reading:
        """All totals, now."""
        slots = [_NOWHERE, *list(self._slots.all.values())]
        numbers = [slot.number * _DIRECTIONS + direction for slot in slots for direction in range(_DIRECTIONS)]
        size = self._cpus * HOOK_TOTAL.itemsize
        content = b"".join(bpf_syscall.map_lookup(self._map, n.to_bytes(4, "little"), size) for n in numbers)
        words = np.frombuffer(content, np.uint64).reshape(len(numbers), self._cpus, HOOK_TOTAL.itemsize // 8)
        self.reading = Reading(slots, np.ascontiguousarray(words.sum(axis=1)).view(HOOK_TOTAL).reshape(-1))
        return self.reading

    def to_tell(self, now_ns: int) -> bytes:
        """What a batch that goes out now says: rows that changed, all of them every 30 s, nothing twice a second."""
        if now_ns - self._read_ns < _READ_NS:
            return b""
        self._read_ns = now_ns
        everything = now_ns - self._all_told_ns >= _ALL_NS
        if everything:
            self._all_told_ns = now_ns
        return self._write(self.read(), is_whole=everything)

    def all(self) -> bytes:
        """What the last batch says: every row."""
        return self._write(self.read(), is_whole=True)

    def tell_all_again(self) -> None:
        """Something told may not have arrived: begin again with everything."""
        self._all_told_ns = self._read_ns = -_ALL_NS

    def _write(self, reading: Reading, *, is_whole: bool) -> bytes:
        rows = []
        for row in range(len(reading.values)):
            slot, content = reading.slots[row // _DIRECTIONS], reading.values[row].tobytes()
            key = (slot.ifindex, row % _DIRECTIONS)
            is_used = slot.number != NO_SLOT or any(content)
            if is_used and (is_whole or self._told.get(key) != content):
                rows.append(row)
                self._told[key] = content
        return write_totals(self._to_rows(reading, rows)) if rows else b""

    def _to_rows(self, reading: Reading, rows: list[int]) -> pa.RecordBatch:
        slots = [reading.slots[row // _DIRECTIONS] for row in rows]
        values = reading.values[rows]
        columns = [
            to_strings([slot.name for slot in slots]),
            to_numbers(np.array([slot.ifindex for slot in slots], np.uint32)),
            to_numbers(np.array([slot.kind for slot in slots], np.uint8)),
            to_numbers(np.array([row % _DIRECTIONS for row in rows], np.uint8)),
            to_strings([self._hook(slot.ifindex, row % _DIRECTIONS) for slot, row in zip(slots, rows, strict=True)]),
            *(to_numbers(values[unit][:, outcome]) for outcome in range(len(OUTCOMES)) for unit in _UNITS),
            _lists(values["size_packets"], len(PROTOCOL_CLASSES) * SIZE_BUCKETS),
            _lists(values["size_bytes"], len(PROTOCOL_CLASSES)),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)

    def _hook(self, ifindex: int, direction: int) -> str:
        """What the hook is, or was while the interface was there; empty when an earlier process attached it."""
        hook = self._hook_of(ifindex, direction)
        if hook:
            self._hooks[ifindex, direction] = hook
        return hook or self._hooks.get((ifindex, direction), "")


def _lists(values: npt.NDArray[np.uint64], length: int) -> pa.Array:
    kind = SCHEMA.field("size_packets").type if length != len(PROTOCOL_CLASSES) else SCHEMA.field("protocol_bytes").type
    items = to_numbers(np.ascontiguousarray(values).reshape(-1))
    return pa.Array.from_buffers(kind, len(values), [None], children=[items])
