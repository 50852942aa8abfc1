"""The kernel's own type descriptions (BTF) to struct offsets, enum values and function prototypes.

The format: Documentation/bpf/btf.rst in the kernel tree. A vmlinux holds some 150,000 types; one pass notes where each
begins, everything else is read when asked for. The pass takes about 0.15 s, the object holds the file's 5 MB: ask, then
let go. It makes no Python objects that stay: among them others would be left, and their memory with them.
"""

import struct
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

VMLINUX: Final = Path("/sys/kernel/btf/vmlinux")

_MAGIC: Final = 0xEB9F
_POINTER, _STRUCT, _UNION, _ENUM, _TYPEDEF, _PROTOTYPE = 2, 4, 5, 6, 8, 13
_MODIFIERS: Final = frozenset({_TYPEDEF, 9, 10, 11, 18})
"""typedef, volatile, const, restrict, type tag: the type behind has the same layout."""
_FIXED_TAIL: Final = {1: 4, 3: 12, 14: 4, 17: 4}
_TAIL_PER_ELEMENT: Final = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
_HEADER: Final = struct.Struct("=III")
"""Name, info (kind in bits 24-28, number of elements in 0-15, bit 31: members have bit sizes), size or type."""
_MEMBER: Final = struct.Struct("=III")
_ENUMERATOR: Final = struct.Struct("=Ii")
_PARAMETER: Final = struct.Struct("=II")


class BtfUnavailableError(Exception):
    """The kernel does not describe its types: what drops look like inside it cannot be known."""


class BtfLookupError(Exception):
    """This kernel has no such type, or no such field in it."""


class Btf:
    """Types of one BTF file. Type 0 is void."""

    def __init__(self, content: bytes) -> None:
        """Index a BTF file's bytes. Raises: BtfUnavailableError, when they are none."""
        try:
            magic, header_bytes, types_at, types_bytes, names_at, names_bytes = struct.unpack_from("=HxxIIIII", content)
        except struct.error as error:
            raise BtfUnavailableError("the BTF is shorter than its header") from error
        if magic != _MAGIC:
            raise BtfUnavailableError("this is no BTF of this machine's byte order")
        self._content = content
        self._names_begin = header_bytes + names_at
        self._names_end = self._names_begin + names_bytes
        self._positions = array("I", [0])
        self._index(header_bytes + types_at, header_bytes + types_at + types_bytes)

    def _index(self, position: int, end: int) -> None:
        unpack, content, positions = _HEADER.unpack_from, self._content, self._positions
        while position < end:
            _, info, _ = unpack(content, position)
            kind = info >> 24 & 31
            positions.append(position)
            position += 12 + _FIXED_TAIL.get(kind, 0) + _TAIL_PER_ELEMENT.get(kind, 0) * (info & 0xFFFF)

    def offset(self, struct_name: str, path: str) -> int:
        """Byte offset of a field such as ("sock", "__sk_common.skc_net.net"); unnamed members are looked into.

        Raises: BtfLookupError.
        """
        type_id, total = self._find(_STRUCT, struct_name), 0
        for field in path.split("."):
            found = self._member(type_id, field)
            if found is None:
                raise BtfLookupError(f"struct {struct_name} of the running kernel has no field {path}")
            offset, type_id = found
            total += offset
        return total

    def enum(self, name: str) -> dict[str, int]:
        """Names and values of an enum of 32 bits. Raises: BtfLookupError."""
        elements = self._elements(self._find(_ENUM, name), _ENUMERATOR)
        return {self._text(element): value for element, value in elements}

    def parameters(self, typedef: str) -> tuple[str, ...]:
        """Types of a function typedef's parameters, as ("void*", "sk_buff*"). Raises: BtfLookupError."""
        type_id = self._find(_TYPEDEF, typedef)
        while self._kind(type_id) in _MODIFIERS or self._kind(type_id) == _POINTER:
            type_id = self._behind(type_id)
        if self._kind(type_id) != _PROTOTYPE:
            raise BtfLookupError(f"typedef {typedef} of the running kernel is no function")
        return tuple(self._type_text(parameter) for _, parameter in self._elements(type_id, _PARAMETER))

    def _find(self, kind: int, name: str) -> int:
        at = self._content.find(f"\0{name}\0".encode(), self._names_begin, self._names_end)
        words = np.frombuffer(self._content, np.uint32, len(self._content) // 4)
        begin = np.frombuffer(self._positions, np.uint32)[1:] // 4  # types begin at whole words
        is_kind = words[begin + 1] >> np.uint32(24) & np.uint32(31) == kind
        found = np.flatnonzero(is_kind & (words[begin] == at + 1 - self._names_begin))
        if not len(found):
            raise BtfLookupError(f"the running kernel's BTF has no type {name}")
        return int(found[0]) + 1

    def _member(self, type_id: int, field: str) -> tuple[int, int] | None:
        """Byte offset and type of a field of a struct or union, None without it."""
        type_id = self._unmodified(type_id)
        if self._kind(type_id) not in {_STRUCT, _UNION}:
            return None
        has_bit_sizes = self._info(type_id) >> 31
        for name, member_type, raw in self._elements(type_id, _MEMBER):
            offset = (raw & 0xFFFFFF if has_bit_sizes else raw) // 8
            text = self._text(name)
            if text == field:
                return offset, member_type
            inner = None if text else self._member(member_type, field)
            if inner is not None:
                return offset + inner[0], inner[1]
        return None

    def _elements(self, type_id: int, layout: struct.Struct) -> Iterator[tuple[int, ...]]:
        begin = self._positions[type_id] + _HEADER.size
        end = begin + layout.size * (self._info(type_id) & 0xFFFF)
        return layout.iter_unpack(self._content[begin:end])

    def _info(self, type_id: int) -> int:
        info: int = _HEADER.unpack_from(self._content, self._positions[type_id])[1]
        return info

    def _kind(self, type_id: int) -> int:
        return self._info(type_id) >> 24 & 31 if type_id else 0

    def _behind(self, type_id: int) -> int:
        behind: int = _HEADER.unpack_from(self._content, self._positions[type_id])[2]
        return behind

    def _unmodified(self, type_id: int) -> int:
        while self._kind(type_id) in _MODIFIERS:
            type_id = self._behind(type_id)
        return type_id

    def _type_text(self, type_id: int) -> str:
        stars = ""
        while self._kind(type_id) in _MODIFIERS - {_TYPEDEF} or self._kind(type_id) == _POINTER:
            stars += "*" if self._kind(type_id) == _POINTER else ""
            type_id = self._behind(type_id)
        name: int = _HEADER.unpack_from(self._content, self._positions[type_id])[0]
        return (self._text(name) if type_id else "void") + stars

    def _text(self, at: int) -> str:
        begin = self._names_begin + at
        return self._content[begin : self._content.index(b"\0", begin, self._names_end)].decode()


def read_btf(path: Path = VMLINUX) -> Btf:
    """The running kernel's types. Raises: BtfUnavailableError, with what to do."""
    try:
        return Btf(path.read_bytes())
    except OSError as error:
        raise BtfUnavailableError(
            f"cannot read {path} ({error.strerror}): dropped packets are found by the kernel's own type descriptions; "
            "run a kernel built with CONFIG_DEBUG_INFO_BTF=y, as the distributions' are"
        ) from error
