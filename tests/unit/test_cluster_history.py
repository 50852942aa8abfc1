"""Leases depend on what happened and not on how it was told: by list or watch, once or again, in any order."""

import itertools
from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from aggregator.identity.addresses import to_address
from aggregator.identity.claims import Claim, Rank, to_leases
from aggregator.identity.leases import FOREVER, Names
from aggregator.identity.objects import (
    Changed,
    Deleted,
    Event,
    Listed,
    Object,
    Owner,
    Pod,
    ReplicaSet,
    Resource,
)
from tests.unit.told_cluster import A, leases, pod, slice_of, told

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
        self.once_members: set[str] = set()

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
            self.once_members.add(f"p{number}")
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
    """But for the service that a pod had left before, which only a watch, or the stored leases, remember."""
    world = lived(before)
    watched = told(*mixed(world, random))
    alive: list[Object] = list(world.living.values())
    alive += [slice_of(*world.members[place], uid=f"slice{place}", name=f"service{place}") for place in (0, 1)]
    listed = told(
        Changed(tuple(alive), world.now + 9),
        *(Changed(event.objects, world.now + 9) for event in world.events["sets"] if isinstance(event, Changed)),
        Listed(Resource.PODS, frozenset(each.uid for each in world.living.values()), world.now + 9),
    )
    left = world.once_members.difference(*world.members.values())
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
            names = lease.names
            if lease.uid in left and not other.names.service:
                names = names._replace(service="")
            assert (other.valid_to, other.names) == (lease.valid_to, names)
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
