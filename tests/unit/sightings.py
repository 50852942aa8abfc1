"""Conversations to all their sightings: the table of cases.

A case lists every sighting of one conversation as its client and server meant it: the places where a packet passed,
with the addresses it had there.
"""

from typing import NamedTuple

from aggregator.identity.reporter import (
    POD_SIDE,
    UPLINK,
    AddressClass,
    Sighting,
)

OUTSIDE, POD, SERVICE, NODE, OWN, MULTICAST, LINK_LOCAL = AddressClass
IN, OUT = 0, 1
COUNTS, REPEATS = "counts", "repeats"


class Row(NamedTuple):
    """One place: where, which way the client's packets pass it, what is seen, what it must become."""

    place: str
    kind: int
    way: int
    src: AddressClass
    dst: AddressClass
    reporter: str
    authority: str
    local_socket: int = 0
    is_published: int = 0

    def sighting(self) -> Sighting:
        return Sighting(self.kind, self.way, self.local_socket, self.is_published, self.src, self.dst)


def veth(
    place: str, way: int, src: AddressClass, dst: AddressClass, reporter: str, authority: str, **flags: int
) -> Row:
    return Row(place, POD_SIDE, way, src, dst, reporter, authority, **flags)


def uplink(
    place: str, way: int, src: AddressClass, dst: AddressClass, reporter: str, authority: str, **flags: int
) -> Row:
    return Row(place, UPLINK, way, src, dst, reporter, authority, **flags)


ONCE = {
    "pod to pod on one node": [
        veth("client", IN, POD, POD, "source", COUNTS),
        veth("server", OUT, POD, POD, "destination", REPEATS),
    ],
    "pod to pod on another node, in VXLAN or routed": [
        veth("client", IN, POD, POD, "source", COUNTS),
        uplink("client's node", OUT, POD, POD, "transit", REPEATS),
        uplink("server's node", IN, POD, POD, "transit", REPEATS),
        veth("server", OUT, POD, POD, "destination", REPEATS),
    ],
    "pod to pod through a ClusterIP": [
        veth("client, before translation", IN, POD, SERVICE, "source", COUNTS),
        uplink("client's node, after it", OUT, POD, POD, "transit", REPEATS),
        uplink("server's node", IN, POD, POD, "transit", REPEATS),
        veth("server", OUT, POD, POD, "destination", REPEATS),
    ],
    "pod to a ClusterIP with a node's process behind it": [
        veth("client", IN, POD, SERVICE, "source", COUNTS),
        uplink("client's node", OUT, POD, NODE, "transit", REPEATS),
        uplink("server's node", IN, POD, OWN, "destination", REPEATS, local_socket=1),
    ],
    "pod to outside, masqueraded": [
        veth("client", IN, POD, OUTSIDE, "source", COUNTS),
        uplink("client's node, with its address", OUT, OWN, OUTSIDE, "transit", REPEATS),
    ],
    "pod to outside, routed as it is": [
        veth("client", IN, POD, OUTSIDE, "source", COUNTS),
        uplink("client's node", OUT, POD, OUTSIDE, "transit", REPEATS),
    ],
    "pod to its own node": [veth("client", IN, POD, OWN, "source", COUNTS, local_socket=1)],
    "pod to another node": [
        veth("client", IN, POD, NODE, "source", COUNTS),
        uplink("client's node", OUT, POD, NODE, "transit", REPEATS),
        uplink("server's node", IN, POD, OWN, "destination", REPEATS, local_socket=1),
    ],
    "pod to another node, masqueraded": [
        veth("client", IN, POD, NODE, "source", COUNTS),
        uplink("client's node", OUT, OWN, NODE, "transit", REPEATS),
        uplink("server's node", IN, NODE, OWN, "destination", REPEATS, local_socket=1),
    ],
    "pod to a NodePort, not masqueraded": [
        veth("client", IN, POD, NODE, "source", COUNTS, is_published=1),
        uplink("client's node", OUT, POD, NODE, "transit", REPEATS, is_published=1),
        uplink("the port's node", IN, POD, OWN, "transit", REPEATS, is_published=1),
        veth("server", OUT, POD, POD, "destination", REPEATS),
    ],
    "node's process to outside": [uplink("the node", OUT, OWN, OUTSIDE, "source", COUNTS, local_socket=1)],
    "node's process to another node": [
        uplink("client's node", OUT, OWN, NODE, "source", COUNTS, local_socket=1),
        uplink("server's node", IN, NODE, OWN, "destination", REPEATS, local_socket=1),
    ],
    "node's process to a pod of its own (a kubelet's probe)": [
        veth("server", OUT, OWN, POD, "destination", COUNTS, local_socket=1)
    ],
    "node's process to a pod of another node": [
        uplink("client's node", OUT, OWN, POD, "source", REPEATS, local_socket=1),
        uplink("server's node", IN, NODE, POD, "transit", REPEATS),
        veth("server", OUT, NODE, POD, "destination", COUNTS),
    ],
    "node's process to a ClusterIP, translated before it leaves": [
        uplink("client's node", OUT, OWN, POD, "source", REPEATS, local_socket=1),
        uplink("server's node", IN, NODE, POD, "transit", REPEATS),
        veth("server", OUT, NODE, POD, "destination", COUNTS),
    ],
    "node's process to a ClusterIP that nobody translates": [
        uplink("client's node", OUT, OWN, SERVICE, "source", COUNTS, local_socket=1)
    ],
    "node's process to another node's NodePort": [
        uplink("client's node", OUT, OWN, NODE, "source", REPEATS, local_socket=1, is_published=1),
        uplink("the port's node", IN, NODE, OWN, "transit", REPEATS, is_published=1),
        veth("server", OUT, NODE, POD, "destination", COUNTS),
    ],
    "outside to a node's process": [uplink("the node", IN, OUTSIDE, OWN, "destination", COUNTS, local_socket=1)],
    "outside to a node where nothing answers": [uplink("the node", IN, OUTSIDE, OWN, "destination", COUNTS)],
    "outside to a pod by route": [
        uplink("the node", IN, OUTSIDE, POD, "transit", REPEATS),
        veth("server", OUT, OUTSIDE, POD, "destination", COUNTS),
    ],
    "outside to a NodePort or hostPort, source kept": [
        uplink("the node", IN, OUTSIDE, OWN, "transit", REPEATS, is_published=1),
        veth("server", OUT, OUTSIDE, POD, "destination", COUNTS),
    ],
    "outside to a NodePort, masqueraded to a pod of another node": [
        uplink("the port's node, in", IN, OUTSIDE, OWN, "transit", REPEATS, is_published=1),
        uplink("the port's node, on", OUT, OWN, POD, "transit", REPEATS),
        uplink("server's node", IN, NODE, POD, "transit", REPEATS),
        veth("server", OUT, NODE, POD, "destination", COUNTS),
    ],
    "outside to a NodePort with this node's process behind it": [
        uplink("the node", IN, OUTSIDE, OWN, "destination", COUNTS, local_socket=1, is_published=1)
    ],
    "outside to a load balancer's address with a pod behind it": [
        uplink("the node", IN, OUTSIDE, SERVICE, "transit", REPEATS),
        veth("server", OUT, OUTSIDE, POD, "destination", COUNTS),
    ],
    "outside to a load balancer's address that the node's process answers": [
        uplink("the node", IN, OUTSIDE, SERVICE, "destination", COUNTS, local_socket=1)
    ],
    "host-network pod to a pod": [
        uplink("client's node", OUT, OWN, POD, "source", REPEATS, local_socket=1),
        uplink("server's node", IN, NODE, POD, "transit", REPEATS),
        veth("server", OUT, NODE, POD, "destination", COUNTS),
    ],
    "pod to a host-network pod": [
        veth("client", IN, POD, NODE, "source", COUNTS),
        uplink("client's node", OUT, POD, NODE, "transit", REPEATS),
        uplink("server's node", IN, POD, OWN, "destination", REPEATS, local_socket=1),
    ],
    "outsider to outsider, forwarded": [
        uplink("the node, in", IN, OUTSIDE, OUTSIDE, "transit", COUNTS),
        uplink("the node, out", OUT, OUTSIDE, OUTSIDE, "transit", REPEATS),
    ],
    "container outside all known ranges to the world": [
        veth("client", IN, OUTSIDE, OUTSIDE, "source", COUNTS),
        uplink("the node", OUT, OUTSIDE, OUTSIDE, "transit", REPEATS),
    ],
    "pod to a group, flooded to a neighbour": [
        veth("sender", IN, POD, MULTICAST, "source", COUNTS),
        veth("neighbour", OUT, POD, MULTICAST, "destination", REPEATS),
    ],
    "pod to a group from its link-local address, flooded to a neighbour": [
        veth("sender", IN, LINK_LOCAL, MULTICAST, "source", COUNTS),
        veth("neighbour", OUT, LINK_LOCAL, MULTICAST, "destination", REPEATS),
    ],
    "pod to a group of the higher address and the same port": [
        veth("sender", OUT, MULTICAST, POD, "destination", COUNTS),
        veth("neighbour", IN, MULTICAST, POD, "source", REPEATS),
    ],
    "node to a group, heard by another node": [
        uplink("sender", OUT, OWN, MULTICAST, "source", COUNTS),
        uplink("listener", IN, NODE, MULTICAST, "transit", REPEATS),
    ],
    "node to a group of the higher address and the same port": [
        uplink("sender", IN, MULTICAST, OWN, "destination", COUNTS),
        uplink("listener", OUT, MULTICAST, NODE, "transit", REPEATS),
    ],
    "pod to pod by their link-local addresses": [
        veth("client", IN, LINK_LOCAL, LINK_LOCAL, "source", COUNTS),
        veth("server", OUT, LINK_LOCAL, LINK_LOCAL, "destination", REPEATS),
    ],
    "pod to its node by their link-local addresses": [
        veth("client", IN, LINK_LOCAL, OWN, "source", COUNTS, local_socket=1)
    ],
    "node to its pod by their link-local addresses": [
        veth("server", OUT, OWN, LINK_LOCAL, "destination", COUNTS, local_socket=1)
    ],
}

STATED_LIMITS = {
    "outsider to a group: never": [uplink("listener", IN, OUTSIDE, MULTICAST, "transit", REPEATS)],
    "pod to a NodePort, masqueraded: at both pods": [
        veth("client", IN, POD, NODE, "source", COUNTS, is_published=1),
        uplink("the port's node", IN, POD, OWN, "transit", REPEATS, is_published=1),
        veth("server", OUT, OWN, POD, "destination", COUNTS),
    ],
    "pod to itself through a ClusterIP, masqueraded: both ways": [
        veth("client", IN, POD, SERVICE, "source", COUNTS),
        veth("server", OUT, OWN, POD, "destination", COUNTS),
    ],
    "outside to a NodePort, masqueraded to another node's process: never": [
        uplink("the port's node, in", IN, OUTSIDE, OWN, "transit", REPEATS, is_published=1),
        uplink("the port's node, on", OUT, OWN, NODE, "transit", REPEATS),
        uplink("server's node", IN, NODE, OWN, "destination", REPEATS, local_socket=1),
    ],
}
