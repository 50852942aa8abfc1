"""Types to BTF bytes, by the format's description: what a kernel would say of itself."""

import struct

INT, POINTER, ARRAY, STRUCT, UNION, ENUM, TYPEDEF, CONST, PROTOTYPE = 1, 2, 3, 4, 5, 6, 8, 10, 13


class Writer:
    """Types appended one by one; the first gets number 1."""

    def __init__(self) -> None:
        self.names = bytearray(b"\0")
        self.types = b""
        self.count = 0

    def name(self, text: str) -> int:
        if not text:
            return 0
        at = bytes(self.names).find(f"\0{text}\0".encode())
        if at < 0:
            at = len(self.names) - 1
            self.names += text.encode() + b"\0"
        return at + 1

    def add(
        self, kind: int, name: str, size_or_type: int, tail: bytes = b"", *, elements: int = 0, bits: int = 0
    ) -> int:
        info = bits << 31 | kind << 24 | elements
        self.types += struct.pack("=III", self.name(name), info, size_or_type) + tail
        self.count += 1
        return self.count

    def members(self, kind: int, name: str, size: int, members: list[tuple[str, int, int]], *, bits: int = 0) -> int:
        tail = b"".join(struct.pack("=III", self.name(field), of, offset) for field, of, offset in members)
        return self.add(kind, name, size, tail, elements=len(members), bits=bits)

    def content(self) -> bytes:
        header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self.types), len(self.types), len(self.names))
        return header + self.types + bytes(self.names)
