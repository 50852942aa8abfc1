"""Reporter and authority: the table of cases, and each conversation counted once over all places that saw it.

A case lists every sighting of one conversation as its client and server meant it: the places where a packet passed,
with the addresses it had there.
"""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.reporter import (
    POD_SIDE,
    REPORTERS,
    UPLINK,
    AddressClass,
    Sighting,
    Sightings,
    is_authoritative,
    report,
    to_reporter,
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

ROWS = [pytest.param(row, id=f"{case} @ {row.place}") for case, rows in (ONCE | STATED_LIMITS).items() for row in rows]


@pytest.mark.parametrize("row", ROWS)
def test_a_sighting_gets_its_reporter_and_its_authority(row: Row) -> None:
    seen = row.sighting()
    assert (to_reporter(seen).name.lower(), is_authoritative(seen)) == (row.reporter, row.authority == COUNTS)


@pytest.mark.parametrize("rows", ONCE.values(), ids=ONCE.keys())
def test_a_conversation_counts_once_over_all_places(rows: list[Row]) -> None:
    assert [is_authoritative(row.sighting()) for row in rows].count(True) == 1


def test_columns_say_what_single_sightings_say() -> None:
    rows = [row for rows in (ONCE | STATED_LIMITS).values() for row in rows]
    columns = Sightings(*(np.array(values, "u1") for values in zip(*(row.sighting() for row in rows), strict=True)))
    reporters, authority = report(columns)
    assert REPORTERS.take(reporters).to_pylist() == [row.reporter for row in rows]
    assert authority.tolist() == [int(row.authority == COUNTS) for row in rows]


class Host(NamedTuple):
    """An end of a conversation: a pod or a process on a node, or an outsider (on node −1)."""

    kind: str
    node: int

    def to_class(self, on: int) -> AddressClass:
        if self.kind == "node":
            return OWN if self.node == on else NODE
        return {"pod": POD, "outside": OUTSIDE, "service": SERVICE}[self.kind]


class Leg(NamedTuple):
    """A stretch between two translations, with the addresses that the packets carry on it."""

    src: Host
    dst: Host
    is_published: int = 0


def walk(leg: Leg, *, start: Host, stop: Host, is_first: bool, is_last: bool) -> list[Sighting]:
    """What is seen from where a stretch begins to where it ends; sockets are where it really begins and ends."""

    def seen(kind: int, way: int, node: int) -> Sighting:
        spoke = (is_first and start == Host("node", node)) or (is_last and stop == Host("node", node))
        return Sighting(kind, way, int(spoke), leg.is_published, leg.src.to_class(node), leg.dst.to_class(node))

    sightings = []
    if is_first and start.kind == "pod":
        sightings.append(seen(POD_SIDE, IN, start.node))
    if start.node != stop.node:
        sightings += [seen(UPLINK, OUT, start.node)] if start.node >= 0 else []
        sightings += [seen(UPLINK, IN, stop.node)] if stop.node >= 0 else []
    if is_last and stop.kind == "pod":
        sightings.append(seen(POD_SIDE, OUT, stop.node))
    return sightings


def direct(client: Host, server: Host) -> list[Sighting]:
    return walk(Leg(client, server), start=client, stop=server, is_first=True, is_last=True)


def through_cluster_ip(client: Host, server: Host) -> list[Sighting]:
    """The client's node translates: a pod's interface sees the ClusterIP, all others the server."""
    after = direct(client, server)
    if client.kind == "pod":
        after[0] = after[0]._replace(dst=SERVICE)
    return after


def masqueraded(client: Host, server: Host) -> list[Sighting]:
    """A pod's packets leave with its node's address."""
    return [
        seen._replace(src=Host("node", client.node).to_class(client.node if place == 1 else server.node))
        if place
        else seen
        for place, seen in enumerate(direct(client, server))
    ]


def through_node_port(client: Host, port: Host, server: Host, *, is_source_kept: bool) -> list[Sighting]:
    """To a node's published port, from there to the server, in the client's name or in the node's."""
    is_here = server == port
    first = Leg(client, port, is_published=1)
    sightings = walk(first, start=client, stop=port, is_first=True, is_last=is_here)
    if is_here:
        return sightings
    second = Leg(client if is_source_kept else port, server)
    return sightings + walk(second, start=port, stop=server, is_first=False, is_last=True)


nodes = st.integers(0, 2)
pods = st.builds(Host, st.just("pod"), nodes)
processes = st.builds(Host, st.just("node"), nodes)
outsiders = st.just(Host("outside", -1))


def count(sightings: list[Sighting]) -> int:
    return [is_authoritative(seen) for seen in sightings].count(True)


@given(pods | processes | outsiders, pods | processes | outsiders)
def test_any_direct_conversation_that_passes_an_interface_counts_once(client: Host, server: Host) -> None:
    sightings = direct(client, server)
    assert count(sightings) == bool(sightings)


@given(pods | processes, pods | processes)
def test_any_conversation_through_a_cluster_ip_counts_once(client: Host, server: Host) -> None:
    sightings = through_cluster_ip(client, server)
    assert count(sightings) == bool(sightings)


@given(pods, processes | outsiders)
def test_any_masqueraded_pod_counts_once(client: Host, server: Host) -> None:
    assert count(masqueraded(client, server)) == 1


@given(outsiders | processes, processes, pods)
def test_any_node_port_with_a_pod_behind_it_counts_once(client: Host, port: Host, server: Host) -> None:
    for is_source_kept in (True, False):
        assert count(through_node_port(client, port, server, is_source_kept=is_source_kept)) == 1


@given(processes)
def test_any_node_port_with_its_own_process_behind_it_counts_once(port: Host) -> None:
    assert count(through_node_port(Host("outside", -1), port, port, is_source_kept=True)) == 1
