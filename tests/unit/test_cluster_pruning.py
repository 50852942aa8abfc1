"""What has ended is remembered until it is pruned, and then forgotten everywhere."""

import ipaddress

import numpy as np

from aggregator.identity.cluster import ClusterState
from aggregator.identity.leases import Names
from aggregator.identity.objects import (
    Changed,
    Deleted,
    Port,
)
from tests.unit.told_cluster import A, B, names_of, node, pod, service, slice_of, told


def test_pruning_forgets_what_ended_before_and_nothing_else() -> None:
    old, late = pod("old", A), pod("late", B)
    state = told(Changed((old, late, slice_of("old", "late")), 1), Deleted(old, 10), Deleted(late, 30))
    state.prune(20)
    assert (names_of(state, A, "old"), names_of(state, B, "late").pod) == (Names(), "late")


def test_a_worker_that_stores_nothing_does_not_keep_what_is_pruned() -> None:
    state = told(Changed((pod("old", A),), 1), Deleted(pod("old", A), 10))
    state.prune(20)
    assert state.book.changed == {}


def is_published(state: ClusterState, node_name: str, port: Port) -> bool:
    codes = {"": 0, "node-1": 1, "node-2": 2}
    found = state.ports.table(codes.__getitem__).find(
        np.array([codes[node_name]], "i4"), np.array([port.protocol], "u1"), ports=np.array([port.number], "u2")
    )
    return bool(found[0])


def test_published_ports_are_remembered_until_they_are_pruned() -> None:
    node_port, host_port = Port(6, 30080), Port(17, 53)
    served, hosted = service(node_ports=(node_port,)), pod("a", A, host_ports=(host_port,))
    state = told(Changed((served, hosted), 1))
    state.prune(50)
    assert is_published(state, "node-2", node_port)
    assert is_published(state, "node-1", host_port)
    assert not is_published(state, "node-2", host_port)
    state.apply(Deleted(served, 60))
    state.apply(Deleted(hosted, 60))
    state.prune(60)
    assert is_published(state, "node-2", node_port)
    assert is_published(state, "node-1", host_port)
    state.prune(70)
    assert not is_published(state, "node-2", node_port)
    assert not is_published(state, "node-1", host_port)


def test_a_nodes_pod_range_is_remembered_until_it_is_pruned() -> None:
    network = ipaddress.ip_network("10.244.1.0/24")
    ranged = node()._replace(pod_ranges=(network,))
    state = told(Changed((ranged,), 1))
    state.prune(50)
    assert set(state.pod_ranges) == {network}
    state.apply(Deleted(ranged, 60))
    before = state.range_revision
    state.prune(60)
    assert (set(state.pod_ranges), state.range_revision) == ({network}, before)
    state.prune(61)
    assert (state.pod_ranges, state.range_revision > before) == ({}, True)


def test_an_inventory_told_again_changes_nothing() -> None:
    state = told()
    state.learn_inventory("node-1", A, observed_ns=2)
    before = state.book.revision
    state.learn_inventory("node-1", A, observed_ns=9)
    assert state.book.revision == before
