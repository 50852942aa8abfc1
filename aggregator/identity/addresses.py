"""Addresses as text or columns to 16 bytes, and from 16 bytes to a place in a table.

An address is 16 bytes in network order, IPv4 mapped (::ffff:a.b.c.d, RFC 4291 2.5.5.2), so there is one type and one
path. A column of n addresses is viewed as an (n, 2) array of u64 words: two integers compare faster than 16 bytes, and
no Python object is made.
"""

import ipaddress
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_WORD: Final = np.dtype("u8")

Words = npt.NDArray[np.uint64]
"""(n, 2): the first and the last 8 bytes of each address, in the machine's byte order."""

_MAPPED: Final = b"\x00" * 10 + b"\xff\xff"
_MIX: Final = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0xFF51AFD7ED558CCD))


def to_address(text: str) -> bytes:
    """The 16 bytes of an address in text, without a zone. Raises: ValueError when it is none."""
    packed = ipaddress.ip_address(text.partition("%")[0]).packed
    return packed if len(packed) == 16 else _MAPPED + packed


def is_on_link(address: bytes) -> bool:
    """Whether an address means something on its own link or host only: link-local, loopback or unspecified."""
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.IPv6Address(address)
    ip = ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip
    return ip.is_link_local or ip.is_loopback or ip.is_unspecified


def to_words(addresses: bytes | pa.Array) -> Words:
    """The words of addresses in a row, or of an Arrow column of 16-byte binaries without nulls; nothing is copied."""
    if isinstance(addresses, bytes):
        return np.frombuffer(addresses, _WORD).reshape(-1, 2)
    count = 2 * len(addresses)
    if not count:
        return np.empty((0, 2), _WORD)
    return np.frombuffer(addresses.buffers()[1], _WORD, count=count, offset=16 * addresses.offset).reshape(-1, 2)


class AddressIndex:
    """From an address to its place among distinct addresses: open addressing with linear probing, at most half full."""

    def __init__(self, addresses: Words) -> None:
        bits = max(4, (2 * len(addresses)).bit_length())
        self._addresses = np.ascontiguousarray(addresses)
        self._shift = np.uint64(64 - bits)
        self._mask = (1 << bits) - 1
        self._places = np.full(1 << bits, -1, "i4")
        self._fill()

    def _fill(self) -> None:
        slots = self._slots(self._addresses)
        waiting = np.arange(len(self._addresses), dtype="i4")
        while waiting.size:
            free = waiting[self._places[slots[waiting]] < 0]
            self._places[slots[free]] = free
            waiting = waiting[self._places[slots[waiting]] != waiting]
            slots[waiting] = (slots[waiting] + 1) & self._mask

    def _slots(self, addresses: Words) -> npt.NDArray[np.int64]:
        first, last, both = _MIX
        mixed = (addresses[:, 0] * first ^ addresses[:, 1] * last) * both
        return (mixed >> self._shift).view("i8")

    def find(self, addresses: Words) -> npt.NDArray[np.int32]:
        """The place of each address, −1 where it is not among them."""
        slots = self._slots(addresses)
        places = self._places[slots]
        wrong = np.flatnonzero(self._is_other(places, addresses))
        while wrong.size:
            slots[wrong] = (slots[wrong] + 1) & self._mask
            places[wrong] = self._places[slots[wrong]]
            wrong = wrong[self._is_other(places[wrong], addresses[wrong])]
        return places

    def _is_other(self, places: npt.NDArray[np.int32], addresses: Words) -> npt.NDArray[np.bool_]:
        if not len(self._addresses):
            return np.zeros(len(places), bool)
        held = self._addresses[places]
        is_other: npt.NDArray[np.bool_] = (held[:, 0] != addresses[:, 0]) | (held[:, 1] != addresses[:, 1])
        return is_other & (places >= 0)
