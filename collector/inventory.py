"""What a node's collector watches to one JSON message: interfaces, how each is counted at, the node's own addresses.

It goes to the compacted topic of collectors, so that who knows Kubernetes learns which addresses are the node's own
(bridges and tunnels too: kubelet's probes come from there) and which node ought to be heard from.
"""

from collections.abc import Callable, Mapping
from ipaddress import IPv6Address
from typing import Final

import msgspec

from collector.attach import Counted
from collector.interfaces import KINDS

_REPEAT_NS: Final = 30 * 10**9
DIRECTIONS: Final = ("ingress", "egress")


class HookEntry(msgspec.Struct, frozen=True):
    """One hook of one interface."""

    name: str
    ifindex: int
    kind: str
    """uplink or pod"""
    hook: str
    """xdp, tc or tcx"""
    direction: str
    attached_since_ns: int
    """Unix nanoseconds."""
    note: str
    """Why it is not the hook that was asked for; empty when it is."""


class Inventory(msgspec.Struct, frozen=True):
    """The message; times are Unix nanoseconds."""

    node: str
    boot_id: str
    version: str
    kernel: str
    time_ns: int
    counting_since_ns: int
    addresses: list[str]
    interfaces: list[HookEntry]


def hook_entries(counted: Mapping[int, Counted], to_unix_ns: Callable[[int], int]) -> list[HookEntry]:
    """Every hook, by interface and direction."""
    return [
        HookEntry(
            name=one.attachment.watched.link.name,
            ifindex=ifindex,
            kind=KINDS[one.attachment.watched.kind],
            hook=one.attachment.hooks[direction],
            direction=DIRECTIONS[direction],
            attached_since_ns=to_unix_ns(one.since_ns),
            note=one.attachment.note if direction == 0 else "",
        )
        for ifindex, one in sorted(counted.items())
        for direction in sorted(one.attachment.hooks)
    ]


def address_texts(addresses: bytes) -> list[str]:
    """Addresses of 16 bytes each as people write them."""
    found = [IPv6Address(addresses[place : place + 16]) for place in range(0, len(addresses), 16)]
    return [str(address.ipv4_mapped or address) for address in found]


class Announcer:
    """When to send an inventory: on change, and every 30 s."""

    def __init__(self) -> None:
        self._sent: tuple[list[str], list[HookEntry]] | None = None
        self._sent_ns = 0

    def answer(self, error: str | None) -> None:
        """Kafka's answer: after an error the next one is due at once."""
        if error is not None:
            self._sent = None

    def is_due(self, inventory: Inventory, *, now_ns: int) -> bool:
        """Is this one to be sent now (monotonic)? Then it is taken for sent."""
        content = (
            inventory.addresses,
            [msgspec.structs.replace(one, attached_since_ns=0) for one in inventory.interfaces],
        )
        if content == self._sent and now_ns - self._sent_ns < _REPEAT_NS:
            return False
        self._sent, self._sent_ns = content, now_ns
        return True
