"""Routing socket's bytes to links, addresses, routes and filters, and requests back to bytes: pure.

Layouts: linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h, pkt_sched.h, pkt_cls.h; all in host order, which is little
endian on every machine this runs on.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

INGRESS: Final = 0
EGRESS: Final = 1

ERROR, DONE = 2, 3
NEWLINK, DELLINK, GETLINK = 16, 17, 18
NEWADDR, DELADDR, GETADDR = 20, 21, 22
GETROUTE: Final = 26
NEWQDISC, DELQDISC = 36, 37
NEWTFILTER, DELTFILTER, GETTFILTER = 44, 45, 46

_CLSACT_HANDLE, _CLSACT_PARENT = 0xFFFF0000, 0xFFFFFFF1
_DIRECTIONS: Final = {INGRESS: 0xFFFFFFF2, EGRESS: 0xFFFFFFF3}
_PRIORITY: Final = 1
_ALL_PROTOCOLS: Final = socket.htons(3)
_HANDLE: Final = 0x6B6E69
"""Ours among the filters of priority 1, where other programs count up from 1."""
_DIRECT_ACTION: Final = 1
_MAIN_TABLE: Final = 254


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface, as the kernel describes it."""

    ifindex: int
    name: str
    kind: str = ""
    """As in `ip -d link`: veth, bridge, vlan, bond, vxlan; empty for hardware."""
    lower: int = 0
    """The interface that this one stands on, in the same namespace; 0: none."""
    master: int = 0
    """The bridge or bond that this one is a port of; 0: none."""
    xdp_program: int = 0
    """Identifier of the XDP program attached; 0: none."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The interface was deleted, or moved to another namespace."""

    ifindex: int


@dataclass(frozen=True, slots=True)
class AddressChange:
    """One of the node's addresses came or went."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A TC filter that runs a program."""

    name: str
    program_id: int
    handle: int
    priority: int

    @property
    def is_at_our_place(self) -> bool:
        """Does it stand where ours would?"""
        return (self.handle, self.priority) == (_HANDLE, _PRIORITY)


Event = Link | Gone | AddressChange


def split(received: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, sequence, body) of each message in what one receive gave."""
    offset = 0
    while offset + 16 <= len(received):
        length, kind, _, sequence, _ = struct.unpack_from("<IHHII", received, offset)
        yield kind, sequence, received[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("<HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(body: bytes, offset: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("<HH", body, offset)
        found[kind & 0x3FFF] = body[offset + 4 : offset + length]
        offset += max((length + 3) & ~3, 4)
    return found


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "little")


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="replace")


def to_event(kind: int, body: bytes) -> Event | None:
    """What a message of the event groups tells; None: nothing of interest."""
    if kind == NEWLINK:
        return to_link(body)
    if kind == DELLINK:
        return Gone(struct.unpack_from("<i", body, 4)[0])
    return AddressChange() if kind in {NEWADDR, DELADDR} else None


def to_link(body: bytes) -> Link:
    """The interface in an RTM_NEWLINK."""
    found = _attributes(body, 16)
    kind = _text(_attributes(found.get(18, b""), 0).get(1))  # IFLA_LINKINFO, IFLA_INFO_KIND
    xdp = _attributes(found.get(43, b""), 0)  # IFLA_XDP
    elsewhere = 37 in found  # IFLA_LINK_NETNSID: IFLA_LINK counts in another namespace
    return Link(
        ifindex=struct.unpack_from("<i", body, 4)[0],
        name=_text(found.get(3)),
        kind=kind,
        lower=0 if elsewhere or kind == "veth" else _number(found.get(5)),
        master=_number(found.get(10)),
        xdp_program=_number(xdp.get(4)),
    )


def to_address(body: bytes) -> bytes:
    """The address in an RTM_NEWADDR: 16 bytes, IPv4 mapped."""
    family = body[0]
    found = _attributes(body, 8)
    address = found.get(2) or found.get(1, b"")  # IFA_LOCAL: without a peer's; else IFA_ADDRESS
    return b"\0" * 10 + b"\xff\xff" + address if family == socket.AF_INET else address


def to_default_route(body: bytes) -> Iterator[int]:
    """The interfaces that an RTM_NEWROUTE leads through, if it is a default route of the main table."""
    destination_bits = body[1]
    found = _attributes(body, 12)
    if destination_bits or (_number(found.get(15)) or body[4]) != _MAIN_TABLE:
        return
    if 4 in found:  # RTA_OIF
        yield _number(found[4])
    hops = found.get(9, b"")  # RTA_MULTIPATH: struct rtnexthop, each with its attributes
    while len(hops) >= 8:
        length, _, _, index = struct.unpack_from("<HBBi", hops)
        yield index
        hops = hops[max(length, 8) :]


def to_filter(body: bytes) -> Filter | None:
    """The filter in an RTM_NEWTFILTER; None: it runs no program."""
    _, _, _, _, handle, _, info = struct.unpack_from("<BBHiIII", body)
    found = _attributes(body, 20)
    if _text(found.get(1)) != "bpf" or 2 not in found:
        return None
    options = _attributes(found[2], 0)
    if 11 not in options:  # TCA_BPF_ID: the entry of a priority itself has none
        return None
    return Filter(_text(options.get(7)), _number(options[11]), handle, info >> 16)


def clsact_body(ifindex: int) -> bytes:
    """An interface's clsact: the queueing discipline without queue that TC hooks hang on."""
    body = struct.pack("<BBHiIII", 0, 0, 0, ifindex, _CLSACT_HANDLE, _CLSACT_PARENT, 0)
    return body + _attribute(1, b"clsact\0")


def hook_body(ifindex: int, direction: int) -> bytes:
    """One hook of an interface's clsact."""
    return struct.pack("<BBHiIII", 0, 0, 0, ifindex, 0, _DIRECTIONS[direction], 0)


def filter_body(ifindex: int, direction: int) -> bytes:
    """Our filter's place at a hook."""
    info = _PRIORITY << 16 | _ALL_PROTOCOLS
    body = struct.pack("<BBHiIII", 0, 0, 0, ifindex, _HANDLE, _DIRECTIONS[direction], info)
    return body + _attribute(1, b"bpf\0")


def filter_options(program: int, name: str) -> bytes:
    """The program (descriptor) that our filter runs, and the name it goes by."""
    options = _attribute(6, struct.pack("<I", program)) + _attribute(7, name.encode() + b"\0")
    return _attribute(2, options + _attribute(8, struct.pack("<I", _DIRECT_ACTION)))
