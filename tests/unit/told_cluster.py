"""Events to a cluster's state, as tests tell them: objects with defaults, and what follows for an address."""

from typing import Any

from aggregator.identity.addresses import to_address
from aggregator.identity.cluster import ClusterState
from aggregator.identity.lease_table import LeaseTable
from aggregator.identity.leases import Lease, Names
from aggregator.identity.objects import (
    EndpointSlice,
    Event,
    Node,
    Owner,
    Pod,
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


def names_of(state: ClusterState, address: bytes, uid: str) -> Names:
    return state.book.names(address, uid)
