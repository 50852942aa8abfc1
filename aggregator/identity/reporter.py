"""What one interface saw to whether it counts: `reporter` and `authoritative` of flow records.

A packet between two pods is seen at up to four places. Each row says who reports it, in Istio's words, and whether it
is the authoritative observation of its conversation. Both come from the record and the *class* of its two addresses,
never from a lease: leases may be known at different moments in different workers, a class is the same in all of them.
So nothing another node knows is needed, and each conversation counts once.

What this cannot tell: behind source translation into the cluster the client *is* the node. A pod's conversation through
a masqueraded NodePort, or with itself, counts at both pods' interfaces; a masqueraded NodePort whose process sits on
another node's host network counts nowhere. Multicast from an outsider never counts.
"""

from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

UPLINK: Final = 0
POD_SIDE: Final = 1


class AddressClass(IntEnum):
    """What an address is by itself, whoever holds it now."""

    OUTSIDE = 0
    POD = 1
    """In a range that pods get their addresses from."""
    SERVICE = 2
    NODE = 3
    """Another node's own."""
    OWN = 4
    """Of the node whose record this is."""
    MULTICAST = 5
    """Or broadcast."""
    LINK_LOCAL = 6
    """Or unspecified, or loopback: means something on its own link only."""


class Reporter(IntEnum):
    """Whose side an interface is on."""

    SOURCE = 0
    DESTINATION = 1
    TRANSIT = 2


REPORTERS: Final = pa.array([reporter.name.lower() for reporter in Reporter])
"""The words, by code."""

_NODES: Final = (AddressClass.NODE, AddressClass.OWN)


class Sighting(NamedTuple):
    """All that reporter and authority depend on."""

    interface_kind: int
    flow_direction: int
    """0 the client's packets come in at this interface, 1 they go out."""
    local_socket: int
    """1: a socket of this node sent or answered; a forwarded or masqueraded conversation has none."""
    is_published: int
    """1: the server's port is a NodePort or hostPort, and leads to a pod."""
    src: AddressClass
    dst: AddressClass


def to_reporter(seen: Sighting) -> Reporter:
    """On whose side of the conversation it was seen."""
    if seen.interface_kind == POD_SIDE:
        return Reporter.DESTINATION if seen.flow_direction else Reporter.SOURCE
    if seen.flow_direction:
        # Nobody masquerades multicast, and the kernel's own (IGMP) comes without a socket.
        is_spoken_here = seen.local_socket or seen.dst is AddressClass.MULTICAST
        return Reporter.SOURCE if seen.src is AddressClass.OWN and is_spoken_here else Reporter.TRANSIT
    if seen.dst is AddressClass.OWN and (seen.local_socket or not seen.is_published):
        return Reporter.DESTINATION
    if seen.dst is AddressClass.SERVICE and seen.local_socket:
        return Reporter.DESTINATION
    return Reporter.TRANSIT


def is_authoritative(seen: Sighting) -> bool:
    """Whether this sighting is the one that counts."""
    seen = _with_pods_on_their_link(seen)
    reporter = to_reporter(seen)
    if AddressClass.MULTICAST in (seen.src, seen.dst):
        return _is_senders_own(seen, reporter)
    if seen.src is AddressClass.POD:
        return reporter is Reporter.SOURCE
    if seen.dst is AddressClass.POD or (seen.dst in _NODES and seen.is_published):
        return reporter is Reporter.DESTINATION
    if seen.src in _NODES:
        return reporter is Reporter.SOURCE
    if seen.dst in _NODES or seen.dst is AddressClass.SERVICE:
        return reporter is Reporter.DESTINATION
    return seen.flow_direction == 0


def _is_senders_own(seen: Sighting, reporter: Reporter) -> bool:
    # With equal ports (mDNS) the group's address may be the higher one, and stand where the client does.
    if seen.src is AddressClass.MULTICAST:
        return seen.dst in (AddressClass.POD, AddressClass.OWN) and reporter is Reporter.DESTINATION
    return seen.src in (AddressClass.POD, AddressClass.OWN) and reporter is Reporter.SOURCE


def _with_pods_on_their_link(seen: Sighting) -> Sighting:
    """Link-local addresses at a pod's interface, where the pod has one, are pods: nobody forwarded them."""
    if seen.interface_kind != POD_SIDE:
        return seen
    link = AddressClass.LINK_LOCAL
    if seen.src is seen.dst is link:
        return seen._replace(src=AddressClass.POD, dst=AddressClass.POD)
    if seen.flow_direction == 0 and seen.src is link:
        return seen._replace(src=AddressClass.POD)
    if seen.flow_direction == 1 and seen.dst is link:
        return seen._replace(dst=AddressClass.POD)
    return seen


def _all_sightings() -> list[Sighting]:
    """Every sighting, at its place in the table: three bits a class, one bit each of the rest."""
    classes = [AddressClass(min(code, AddressClass.LINK_LOCAL)) for code in range(8)]
    return [
        Sighting(
            interface_kind=place & 1,
            flow_direction=place >> 1 & 1,
            local_socket=place >> 2 & 1,
            is_published=place >> 3 & 1,
            src=classes[place >> 4 & 7],
            dst=classes[place >> 7 & 7],
        )
        for place in range(1 << 10)
    ]


_REPORTER_OF: Final = np.array([to_reporter(seen) for seen in _all_sightings()], "u1")
_IS_AUTHORITATIVE: Final = np.array([is_authoritative(seen) for seen in _all_sightings()], "u1")

Codes = npt.NDArray[np.uint8]


class Sightings(NamedTuple):
    """Sightings as columns of u8, the members of `Sighting` by name."""

    interface_kind: Codes
    flow_direction: Codes
    local_socket: Codes
    is_published: Codes
    src: Codes
    dst: Codes


def report(seen: Sightings) -> tuple[Codes, Codes]:
    """Reporter and authority (1 or 0) of each record."""
    places = seen.dst.astype("u2") << 3 | seen.src
    for flag in (seen.is_published, seen.local_socket, seen.flow_direction, seen.interface_kind):
        places = places << 1 | flag
    return _REPORTER_OF[places], _IS_AUTHORITATIVE[places]
