"""Events to leases: who held which address when."""

import pytest

from aggregator.identity.addresses import to_address
from aggregator.identity.claims import Rank
from aggregator.identity.cluster import ClusterState
from aggregator.identity.lease_table import LeaseTable
from aggregator.identity.leases import FOREVER, Kind, Lease
from aggregator.identity.objects import (
    Changed,
    Deleted,
    Listed,
    Pod,
    Resource,
)
from tests.unit.told_cluster import SERVICE_IP, A, B, leases, node, pod, service, spans, told


def test_a_lease_begins_with_its_pod_and_lasts() -> None:
    state = told(Changed((pod("a", A, created=5),), 100))
    assert spans(state, A) == {"a": (5, FOREVER)}


def test_a_lease_begins_when_the_one_before_ended_not_when_it_was_heard_of() -> None:
    old, new = pod("old", A), pod("new", A, created=50)
    state = told(Changed((old,), 1), Deleted(old, 80), Changed((new,), 200))
    assert spans(state, A) == {"old": (0, 80), "new": (80, FOREVER)}


def test_it_does_not_matter_that_the_end_is_heard_after_the_next_begin() -> None:
    old, new = pod("old", A), pod("new", A, created=50)
    state = told(Changed((old,), 1), Changed((new,), 60))
    assert spans(state, A) == {"old": (0, 50), "new": (50, FOREVER)}
    state.apply(Deleted(old, 80))
    assert spans(state, A) == {"old": (0, 80), "new": (80, FOREVER)}


def test_a_pod_created_long_before_it_got_its_address_comes_after_the_one_that_had_it() -> None:
    early, short = pod("early", A, created=0, started_ns=90), pod("short", A, created=50)
    state = told(Changed((short,), 51), Deleted(short, 70), Changed((early,), 95))
    assert spans(state, A) == {"short": (50, 70), "early": (70, FOREVER)}


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param(pod("a", A, is_finished=True), 40, id="when it is heard that it is finished"),
        pytest.param(pod("a", A, is_finished=True, ended_by_ns=30), 30, id="when its containers ended"),
        pytest.param(pod("a"), 40, id="when it has no address any more"),
        pytest.param(pod("a", B), 40, id="when it has another address"),
    ],
)
def test_a_lease_ends_before_its_pod_is_deleted(last: Pod, expected: int) -> None:
    state = told(Changed((pod("a", A),), 1), Changed((last,), 40), Changed((last,), 50), Deleted(last, 60))
    assert spans(state, A) == {"a": (0, expected)}


def test_a_pod_seen_only_at_its_deletion_had_a_lease_all_the_same() -> None:
    state = told(Deleted(pod("a", A, created=10, ended_by_ns=30), 40))
    assert spans(state, A) == {"a": (10, 30)}


def test_a_deleted_pod_does_not_come_back() -> None:
    a = pod("a", A)
    assert spans(told(Changed((a,), 1), Deleted(a, 20), Changed((a,), 30), Deleted(a, 40)), A) == {"a": (0, 20)}


def test_an_address_that_comes_back_to_its_pod_is_its_own_from_then_on() -> None:
    between = pod("b", A, created=30)
    state = told(
        Changed((pod("a", A),), 1),
        Changed((pod("a", B),), 20),
        Changed((between,), 31),
        Deleted(between, 50),
        Changed((pod("a", A),), 60),
        Changed((pod("a", A),), 70),
    )
    assert spans(state, A) == {"b": (30, 50), "a": (60, FOREVER)}
    assert spans(state, B) == {"a": (0, 60)}


def test_what_a_list_no_longer_has_ended_at_the_latest_when_it_was_listed() -> None:
    state = told(
        Changed((pod("a", A), pod("b", B)), 1), Changed((pod("b", B),), 50), Listed(Resource.PODS, frozenset("b"), 50)
    )
    assert spans(state, A) == {"a": (0, 50)}
    assert spans(state, B) == {"b": (0, FOREVER)}


def test_what_a_list_no_longer_has_ended_when_another_was_given_its_address() -> None:
    state = told(
        Changed((pod("a", A),), 1), Changed((pod("b", A, created=30),), 50), Listed(Resource.PODS, frozenset("b"), 50)
    )
    assert spans(state, A) == {"a": (0, 30), "b": (30, FOREVER)}


def test_a_list_of_one_resource_ends_nothing_of_another() -> None:
    state = told(
        Changed((pod("a", A), service(), node("node-1", "192.168.1.1")), 1), Listed(Resource.SERVICES, frozenset(), 9)
    )
    assert spans(state, A) == {"a": (0, FOREVER)}
    assert spans(state, SERVICE_IP) == {"uid-api": (0, 9)}
    assert spans(state, to_address("192.168.1.1")) == {"uid-node-1": (0, FOREVER)}


def test_stored_leases_name_the_dead_and_end_when_they_are_missing() -> None:
    before = told(Changed((pod("dead", A), pod("alive", B)), 1))
    state = ClusterState(LeaseTable())
    for lease in leases(before).values():
        state.book.load(lease)
    assert leases(state) == {}
    state.apply(Changed((pod("alive", B),), 100))
    assert leases(state) == {}
    state.apply(Listed(Resource.PODS, frozenset({"alive"}), 100))
    assert spans(state, A) == {"dead": (0, 100)}


def test_a_service_whose_address_changes_holds_only_the_new_one() -> None:
    state = told(Changed((service(),), 1), Changed((service(cluster_ips=(), external_ips=(B,)),), 5))
    assert (spans(state, SERVICE_IP), spans(state, B)) == ({"uid-api": (0, 5)}, {"uid-api": (0, FOREVER)})


def test_a_service_made_anew_under_its_name_is_another() -> None:
    state = told(Changed((service(),), 1), Deleted(service(), 5), Changed((service(uid="second", created_ns=6),), 7))
    assert spans(state, SERVICE_IP) == {"uid-api": (0, 5), "second": (6, FOREVER)}


def test_a_nodes_own_address_is_the_nodes_though_a_balancer_gives_it_out() -> None:
    balanced = service(cluster_ips=(), external_ips=(B,))
    for events in ([Changed((balanced,), 1)], [Changed((balanced,), 1), Deleted(balanced, 3)]):
        state = told(*events, Changed((node("node-1", "10.244.1.6"),), 5))
        assert spans(state, B) == {"uid-node-1": (0, FOREVER)}


def test_a_cluster_ip_that_nodes_carry_stays_the_services() -> None:
    state = told(Changed((service(), node()), 1))
    state.learn_inventory("node-1", SERVICE_IP + A, observed_ns=2)
    assert spans(state, SERVICE_IP) == {"uid-api": (0, FOREVER)}
    assert spans(state, A) == {"inventory/node-1": (0, FOREVER)}


def test_an_address_that_several_nodes_carry_names_none_of_them() -> None:
    state = told()
    for name in ("node-1", "node-2"):
        state.learn_inventory(name, A, observed_ns=2)
    assert spans(state, A) == {}
    state.learn_inventory("node-2", B, observed_ns=9)
    assert spans(state, A)["inventory/node-1"] == (9, FOREVER)


def test_a_node_that_is_gone_takes_its_inventory_along_until_it_speaks_again() -> None:
    first, again = node(), node(uid="second")
    state = told(Changed((first,), 1))
    state.learn_inventory("node-1", A, observed_ns=2)
    state.apply(Deleted(first, 9))
    assert spans(state, A) == {"inventory/node-1": (0, 9)}
    state.apply(Changed((again,), 20))
    state.learn_inventory("node-1", A, observed_ns=21)
    assert spans(state, A) == {"inventory/node-1": (21, FOREVER)}


def test_link_local_addresses_are_nobodys_lease() -> None:
    state = told()
    state.learn_inventory(
        "node-1", to_address("fe80::1") + to_address("169.254.20.10") + to_address("127.0.0.1"), observed_ns=2
    )
    assert leases(state) == {}


def test_an_empty_lease_that_was_stored_is_no_claim() -> None:
    state = ClusterState(LeaseTable())
    state.book.load(Lease(A, 5, 5, Kind.POD, uid="a"))
    assert state.book.addresses(Rank.POD) == frozenset()


def test_a_stored_service_is_known_again_with_all_its_addresses() -> None:
    before = told(Changed((service(external_ips=(B,)),), 1))
    state = ClusterState(LeaseTable())
    for lease in leases(before).values():
        state.book.load(lease)
    state.apply(Changed((service(external_ips=(B,)),), 9))
    assert leases(state) == {}
    assert (state.book.addresses(Rank.CLUSTER_IP), state.book.addresses(Rank.EXTERNAL_IP)) == (
        frozenset({SERVICE_IP}),
        frozenset({B}),
    )
