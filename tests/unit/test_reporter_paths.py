"""Any conversation, walked from interface to interface, counts once over all of them."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from aggregator.identity.reporter import (
    POD_SIDE,
    UPLINK,
    AddressClass,
    Sighting,
    is_authoritative,
)
from tests.unit.sightings import IN, NODE, OUT, OUTSIDE, OWN, POD, SERVICE


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
