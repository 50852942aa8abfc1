"""A message of the inventory topic to a node's own addresses, 16 bytes each."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

import msgspec


class NodeAddresses(NamedTuple):
    """A node and every address of its own interfaces, bridges and tunnels too."""

    node: str
    packed: bytes
    """16 bytes each; IPv4 mapped."""


class _Message(msgspec.Struct):
    node: str
    addresses: list[str]


def to_node_addresses(value: bytes) -> NodeAddresses | None:
    """What a collector says of its node; None when these bytes are no such message."""
    try:
        message = msgspec.json.decode(value, type=_Message)
        return NodeAddresses(message.node, b"".join(_pack(text) for text in message.addresses))
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return None


def _pack(text: str) -> bytes:
    address = ip_address(text.partition("/")[0].partition("%")[0])
    if isinstance(address, IPv6Address):
        return address.packed
    return b"\0" * 10 + b"\xff\xff" + address.packed
