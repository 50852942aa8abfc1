"""Events to leases: who held which address when, however it was told."""

import ipaddress
import itertools
from collections.abc import Iterable
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.addresses import to_address
from aggregator.claims import Claim, Names, Rank, to_leases
from aggregator.cluster import ClusterState
from aggregator.lease_table import LeaseTable
from aggregator.leases import FOREVER, Kind, Lease
from aggregator.objects import (
    Changed,
    Deleted,
    EndpointSlice,
    Event,
    Listed,
    Node,
    Object,
    Owner,
    Pod,
    Port,
    ReplicaSet,
    Resource,
    Service,
)

A, B = to_address("10.244.1.5"), to_address("10.244.1.6")
SERVICE_IP = to_address("10.96.0.1")


def pod(name: str, *addresses: bytes, created: int = 0, **more: Any) -> Pod:
    facts: dict[str, Any] = {
        "uid": name,
        "namespace": "shop",
        "name": name,
        "node": "node-1",
        "addresses": addresses,
        "created_ns": created,
        "started_ns": created,
        "is_finished": False,
        "ended_by_ns": None,
        "owner": Owner("StatefulSet", "set", "uid-set"),
        "template_hash": "",
        "host_ports": (),
    }
    return Pod(**facts | more)


def service(name: str = "api", *, uid: str = "uid-api", **more: Any) -> Service:
    facts: dict[str, Any] = {"created_ns": 0, "cluster_ips": (SERVICE_IP,), "external_ips": (), "node_ports": ()}
    return Service(uid=uid, namespace="shop", name=name, **facts | more)


def slice_of(*pods: str, uid: str = "slice", name: str = "api") -> EndpointSlice:
    return EndpointSlice(uid, "shop", name, frozenset(pods))


def node(name: str = "node-1", *addresses: str, zone: str = "z1", uid: str = "") -> Node:
    return Node(uid or f"uid-{name}", name, 0, tuple(map(to_address, addresses)), zone, ())


def told(*events: Event) -> ClusterState:
    state = ClusterState(LeaseTable())
    for event in events:
        state.apply(event)
    return state


def leases(state: ClusterState) -> dict[tuple[bytes, str], Lease]:
    """All leases that the state ever had to tell, as last told."""
    return {key: lease for key, (lease, _) in state.book.changed.items()}


def spans(state: ClusterState, address: bytes) -> dict[str, tuple[int, int]]:
    """Who held an address from when to when; None stands for ever, empty leases are left out."""
    held = [lease for lease in leases(state).values() if lease.address == address and lease.valid_from < lease.valid_to]
    return {lease.uid: (lease.valid_from, lease.valid_to) for lease in held}


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


def names_of(state: ClusterState, address: bytes, uid: str) -> Names:
    return state.book.names(address, uid)


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


rank = st.sampled_from(Rank)
claims = st.builds(
    Claim,
    uid=st.uuids().map(str),
    rank=rank,
    names=st.builds(Names, node=st.sampled_from(["node-1", "node-2"]), service=st.sampled_from(["x", "y"])),
    created_ns=st.integers(0, 50),
    started_ns=st.integers(50, 100),
    ended_ns=st.none() | st.integers(50, 200),
    returned_ns=st.just(0) | st.integers(0, 200),
)


@given(st.lists(claims, max_size=8, unique_by=lambda claim: claim.uid), st.randoms())
def test_leases_of_an_address_never_overlap_whatever_is_claimed_in_whatever_order(
    held: list[Claim], random: Random
) -> None:
    found = to_leases(A, held)
    assert sorted(lease.uid for lease in found) == sorted(claim.uid for claim in held)
    lasting = sorted((lease.valid_from, lease.valid_to) for lease in found if lease.valid_from < lease.valid_to)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(lasting))
    random.shuffle(held)
    assert sorted(to_leases(A, held)) == sorted(found)


class Step(NamedTuple):
    """One thing that happens to the cluster: to a pod by number, to an address or service by number."""

    what: str
    pod: int
    place: int


class World:
    """A small cluster that lives by the rules: an address has one living holder, a deleted pod stays deleted."""

    def __init__(self) -> None:
        self.now = 1000
        self.events: dict[str, list[Event]] = {"pods": [], "slices": [], "sets": []}
        self.living: dict[int, Pod] = {}
        self.born = 0
        self.members: dict[int, set[str]] = {0: set(), 1: set()}

    def step(self, step: Step) -> None:
        self.now += 10
        getattr(self, f"_{step.what}")(step.pod, step.place)

    def _create(self, _: int, place: int) -> None:
        address = to_address(f"10.244.0.{place}")
        if any(address in each.addresses and not each.is_finished for each in self.living.values()):
            return
        self.born += 1
        owner = Owner("ReplicaSet", f"set{place}-hash", f"uid-set{place}")
        born = pod(f"p{self.born}", address, created=self.now, owner=owner, template_hash="hash")
        self.living[self.born] = born
        self._tell("pods", Changed((born,), self.now + 3))
        deployment = Owner("Deployment", f"set{place}", f"uid-deployment{place}")
        self._tell("sets", Changed((ReplicaSet(owner.uid, deployment),), self.now + 5))

    def _finish(self, number: int, _: int) -> None:
        if number in self.living and not self.living[number].is_finished:
            self.living[number] = self.living[number]._replace(is_finished=True, ended_by_ns=self.now + 1)
            self._tell("pods", Changed((self.living[number],), self.now + 4))

    def _delete(self, number: int, _: int) -> None:
        if number in self.living:
            self._tell("pods", Deleted(self.living.pop(number), self.now + 2))

    def _join(self, number: int, place: int) -> None:
        if number in self.living:
            self.members[place % 2].add(f"p{number}")
            self._tell_slice(place % 2)

    def _leave(self, number: int, place: int) -> None:
        self.members[place % 2].discard(f"p{number}")
        self._tell_slice(place % 2)

    def _tell_slice(self, place: int) -> None:
        held = slice_of(*self.members[place], uid=f"slice{place}", name=f"service{place}")
        self._tell("slices", Changed((held,), self.now + 6))

    def _tell(self, watch: str, event: Event) -> None:
        self.events[watch].append(event)


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(["create", "create", "finish", "delete", "join", "leave"]),
        st.integers(1, 8),
        st.integers(0, 2),
    ),
    max_size=40,
)


def lived(history: Iterable[Step]) -> World:
    world = World()
    for step in history:
        world.step(step)
    return world


def mixed(world: World, random: Random) -> list[Event]:
    """The events of all watches, each in its own order, some of them told again at once."""
    waiting = {watch: list(events) for watch, events in world.events.items() if events}
    order: list[Event] = []
    while waiting:
        watch = random.choice(sorted(waiting))
        order += [waiting[watch].pop(0)] * random.choice([1, 1, 2])
        if not waiting[watch]:
            del waiting[watch]
    return order


@given(steps, st.randoms(use_true_random=False))
def test_leases_depend_on_what_happened_and_not_on_how_it_was_told(history: list[Step], random: Random) -> None:
    world = lived(history)
    straight = told(*(event for events in world.events.values() for event in events))
    assert leases(told(*mixed(world, random))) == leases(straight)


@given(steps, steps, st.randoms(use_true_random=False))
def test_a_list_knows_the_living_as_a_watch_does(before: list[Step], after: list[Step], random: Random) -> None:
    world = lived(before)
    watched = told(*mixed(world, random))
    alive: list[Object] = list(world.living.values())
    alive += [slice_of(*world.members[place], uid=f"slice{place}", name=f"service{place}") for place in (0, 1)]
    listed = told(
        Changed(tuple(alive), world.now + 9),
        *(Changed(event.objects, world.now + 9) for event in world.events["sets"] if isinstance(event, Changed)),
        Listed(Resource.PODS, frozenset(each.uid for each in world.living.values()), world.now + 9),
    )
    for events in world.events.values():
        events.clear()
    for step in after:
        world.step(step)
    for event in mixed(world, random):
        watched.apply(event)
        listed.apply(event)
    known = {uid for _, uid in leases(listed)}
    for key, lease in leases(watched).items():
        if lease.uid in known and lease.valid_from < lease.valid_to:
            other = leases(listed)[key]
            assert (other.valid_to, other.workload, other.pod) == (lease.valid_to, lease.workload, lease.pod)
            assert other.valid_from <= lease.valid_from


@given(steps, st.integers(0, 30), st.randoms(use_true_random=False))
def test_a_list_after_a_gap_ends_all_that_is_gone(history: list[Step], heard: int, random: Random) -> None:
    world = lived(history)
    state = told(*mixed(world, random)[:heard])
    state.apply(Changed(tuple(world.living.values()), world.now + 9))
    uids = frozenset(each.uid for each in world.living.values())
    state.apply(Listed(Resource.PODS, uids, world.now + 9))
    lasting = {
        lease.uid for lease in leases(state).values() if lease.valid_to == FOREVER and lease.valid_from < FOREVER
    }
    assert lasting == {each.uid for each in world.living.values() if not each.is_finished}
