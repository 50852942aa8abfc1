"""The lab's cluster, over its API, to names: every pod, service and node of it, in both families."""

from __future__ import annotations

import queue
import time
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aggregator.identity.addresses import to_address, to_words
from aggregator.identity.identities import Identities
from aggregator.identity.kubernetes_watch import start_watch
from aggregator.identity.ranges import RangeSettings
from aggregator.identity.reporter import AddressClass
from lab.world import World
from tests.deadline import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aggregator.identity.objects import Event


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World("names", time.time) as world:
        yield world


@pytest.fixture(scope="module")
def identities(world: World) -> Iterator[Identities]:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    known = Identities(RangeSettings(), is_watching=True)
    watch = start_watch("kubeconfig", str(world.kubeconfig), events=events, clock=time.time_ns, random=Random(7))
    assert watch is not None

    def is_ready() -> bool:
        while not events.empty():
            known.apply(events.get())
        return known.ready

    try:
        eventually(is_ready, within_seconds=20)
        yield known
    finally:
        watch.stop()


def names(identities: Identities, address: str, *attributes: str) -> tuple[str, ...]:
    leases = identities.snapshot().leases
    rows = leases.find(to_words(to_address(address)), np.array([time.time_ns()]))
    return tuple(leases.names(attribute, rows).to_pylist()[0] for attribute in attributes) if rows[0] >= 0 else ()


def class_of(identities: Identities, address: str) -> AddressClass:
    ranges = identities.snapshot().ranges
    return AddressClass(ranges.classes[ranges.find(to_words(to_address(address)))[0]])


def test_every_pod_with_an_address_of_its_own_is_named(world: World, identities: Identities) -> None:
    behind = {service.full_name: service.name for service in world.services}
    pods = [pod for pod in world.pods if not pod.host_network]
    for pod in pods:
        workload = pod.workload
        expected = (pod.namespace, workload.name, workload.kind, pod.name, pod.node.name, pod.node.zone)
        service = behind.get(f"{workload.namespace}/{workload.name}", "")
        for address in pod.addresses:
            found = names(
                identities, address, "namespace", "workload", "workload_kind", "pod", "node", "zone", "service"
            )
            assert found == (*expected, service)
            assert class_of(identities, address) is AddressClass.POD
    assert len(pods) >= 12


def test_every_service_is_named_by_the_workload_behind_it(world: World, identities: Identities) -> None:
    for service in world.services:
        (workload,) = {pod.workload for pod in world.pods_of(service.full_name)}
        for address in service.addresses:
            found = names(identities, address, "namespace", "workload", "workload_kind", "service", "pod")
            assert found == (service.namespace, workload.name, workload.kind, service.name, "")
            assert class_of(identities, address) is AddressClass.SERVICE
    assert len(world.services) >= 3


def test_a_node_is_named_and_its_host_network_pods_are_not_guessed(world: World, identities: Identities) -> None:
    for node in world.nodes:
        for address in node.addresses:
            found = names(identities, address, "namespace", "workload", "workload_kind", "pod", "node", "zone")
            assert found == ("", node.name, "Node", "", node.name, node.zone)
            assert class_of(identities, address) is AddressClass.NODE
    assert len([pod for pod in world.pods if pod.host_network]) == len(world.nodes)


def test_no_pod_lies_outside_the_ranges_that_the_nodes_state(identities: Identities) -> None:
    assert identities.pods_outside_ranges() == 0
