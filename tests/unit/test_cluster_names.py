"""Events to names: what a lease says of its holder, whatever was heard first."""

import pytest

from aggregator.identity.leases import Names
from aggregator.identity.objects import (
    Changed,
    Deleted,
    Listed,
    Owner,
    ReplicaSet,
    Resource,
)
from tests.unit.told_cluster import SERVICE_IP, A, names_of, node, pod, service, slice_of, spans, told


def test_a_pod_has_the_first_of_its_services_and_the_zone_of_its_node() -> None:
    more = slice_of("a", uid="slice-2", name="admin")
    state = told(Changed((pod("a", A), slice_of("a"), more, node()), 1))
    assert names_of(state, A, "a") == Names("shop", "set", "StatefulSet", "a", "admin", "node-1", "z1")


def test_a_pod_that_ends_keeps_the_service_it_had() -> None:
    a = pod("a", A)
    state = told(Changed((a, slice_of("a")), 1), Changed((slice_of(),), 2), Deleted(a, 3))
    assert names_of(state, A, "a").service == "api"


def test_what_is_heard_of_a_pod_after_its_end_still_names_it() -> None:
    a = pod("a", A, owner=Owner("ReplicaSet", "web-1", "uid-rs"))
    rollout = ReplicaSet("uid-rs", Owner("Rollout", "web", "uid-web"))
    state = told(Deleted(a, 3), Changed((slice_of("a"), rollout, node()), 4))
    assert names_of(state, A, "a") == Names("shop", "web", "Rollout", "a", "api", "node-1", "z1")
    assert spans(state, A) == {"a": (0, 3)}


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        pytest.param(["db", "db"], ("db", "StatefulSet"), id="the owner of all its pods"),
        pytest.param(["db", "cache"], ("api", "Service"), id="itself where its pods have several owners"),
        pytest.param([], ("api", "Service"), id="itself where it has no pod"),
    ],
)
def test_a_services_workload_is(owners: list[str], expected: tuple[str, str]) -> None:
    pods = [pod(f"p{number}", owner=Owner("StatefulSet", name, f"uid-{name}")) for number, name in enumerate(owners)]
    state = told(Changed((service(), slice_of(*(each.uid for each in pods))), 1), Changed(tuple(pods), 2))
    names = names_of(state, SERVICE_IP, "uid-api")
    assert (names.workload, names.workload_kind, names.service) == (*expected, "api")


def test_a_service_that_lost_all_pods_keeps_its_workload() -> None:
    a = pod("a", A)
    state = told(
        Changed((service(), slice_of("a"), a), 1), Deleted(slice_of("a"), 2), Deleted(a, 3), Deleted(service(), 4)
    )
    assert names_of(state, SERVICE_IP, "uid-api").workload == "set"
    assert spans(state, SERVICE_IP) == {"uid-api": (0, 4)}


def test_a_replica_set_that_is_gone_leaves_its_pods_their_name() -> None:
    owned = pod("a", A, owner=Owner("ReplicaSet", "web-1", "uid-rs"), template_hash="1")
    rollout = ReplicaSet("uid-rs", Owner("Rollout", "web", "uid-web"))
    state = told(Changed((owned, rollout, rollout), 1), Deleted(rollout, 5))
    assert names_of(state, A, "a").workload_kind == "Rollout"
    state.apply(Listed(Resource.REPLICA_SETS, frozenset(), 9))
    state.apply(Listed(Resource.ENDPOINT_SLICES, frozenset(), 9))
    state.apply(Listed(Resource.NODES, frozenset(), 9))
    assert names_of(state, A, "a").workload_kind == "Rollout"


def test_a_node_that_moves_to_another_zone_takes_its_pods_along() -> None:
    state = told(Changed((pod("a", A), node()), 1), Changed((node(zone="z2"),), 2))
    assert names_of(state, A, "a").zone == "z2"


def test_a_pod_keeps_the_zone_of_a_node_that_is_gone_until_both_are_pruned() -> None:
    bare = pod("a", A, owner=None)
    state = told(Changed((bare, node()), 1), Deleted(node(), 2), Changed((bare, slice_of("a", "never-came")), 3))
    assert names_of(state, A, "a") == Names("shop", "a", "Pod", "a", "api", "node-1", "z1")
    for last in (bare, slice_of("a", "never-came")):
        state.apply(Deleted(last, 4))
    state.prune(5)
    state.apply(Changed((pod("b", A), slice_of("c")), 6))
    assert names_of(state, A, "b") == Names("shop", "set", "StatefulSet", "b", "", "node-1", "")


def test_a_slice_of_no_service_names_nothing() -> None:
    state = told(Changed((pod("a", A), slice_of("a", name="")), 1))
    assert names_of(state, A, "a").service == ""


def test_a_slice_that_is_gone_leaves_what_others_say() -> None:
    first, second = slice_of("a"), slice_of("a", uid="slice-2", name="admin")
    state = told(
        Changed((pod("a", A), service(), first, second), 1), Deleted(second, 2), Deleted(first, 3), Deleted(first, 4)
    )
    assert names_of(state, A, "a").service == "api"
