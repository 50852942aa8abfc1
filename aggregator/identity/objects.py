"""Kubernetes' objects to the few facts that identification needs of each, and a pod's owners to its workload.

Times are Unix nanoseconds; the API gives whole seconds, rounded down.
"""

import ipaddress
import re
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Resource(Enum):
    """What is listed and watched: the value is the path of its collection over all namespaces."""

    NODES = "/api/v1/nodes"
    REPLICA_SETS = "/apis/apps/v1/replicasets"
    SERVICES = "/api/v1/services"
    PODS = "/api/v1/pods"
    ENDPOINT_SLICES = "/apis/discovery.k8s.io/v1/endpointslices"


class Owner(NamedTuple):
    """The controller that an object names as its owner; an owner with no uid was told from a name."""

    kind: str
    name: str
    uid: str


class Port(NamedTuple):
    """A port of a node that leads to a pod: IANA protocol number and port."""

    protocol: int
    number: int


class Pod(NamedTuple):
    """A pod; one on its node's network has no address of its own."""

    uid: str
    namespace: str
    name: str
    node: str
    addresses: tuple[bytes, ...]
    created_ns: int
    started_ns: int
    """When its node took it on: its address is not older."""
    is_finished: bool
    """Its phase is Succeeded or Failed: it sends nothing any more and never will."""
    ended_by_ns: int | None
    """Where it has ended, then not later than this."""
    owner: Owner | None
    template_hash: str
    host_ports: tuple[Port, ...]


class Service(NamedTuple):
    """A service's addresses, and the ports that every node opens for it."""

    uid: str
    namespace: str
    name: str
    created_ns: int
    cluster_ips: tuple[bytes, ...]
    external_ips: tuple[bytes, ...]
    """External and load-balancer addresses."""
    node_ports: tuple[Port, ...]


class EndpointSlice(NamedTuple):
    """Some of the pods behind a service, by uid."""

    uid: str
    namespace: str
    service: str
    pods: frozenset[str]


class Node(NamedTuple):
    """A node; its collector uses the same name."""

    uid: str
    name: str
    created_ns: int
    addresses: tuple[bytes, ...]
    zone: str
    pod_ranges: tuple[Network, ...]


class ReplicaSet(NamedTuple):
    """A step on the way from a pod to its Deployment."""

    uid: str
    owner: Owner | None


Object = Pod | Service | EndpointSlice | Node | ReplicaSet


class Changed(NamedTuple):
    """Objects as they are now, new or known, once or again."""

    objects: tuple[Object, ...]
    observed_ns: int


class Deleted(NamedTuple):
    """An object as it was at its end."""

    object: Object
    observed_ns: int


class Listed(NamedTuple):
    """A list is complete: objects of this resource that are not in it are no more."""

    resource: Resource
    uids: frozenset[str]
    observed_ns: int


Event = Changed | Deleted | Listed

_CRON_JOB_RUN: Final = re.compile(r"-\d{8,}$")
"""What the CronJob controller appends to its own name: the scheduled minute (before 1.21 the second) since 1970."""


def to_workload(pod: Pod, replica_set: Callable[[str], ReplicaSet | None]) -> Owner:
    """What a pod belongs to: the top of its chain of owners, itself where there is none.

    `replica_set` gives the ReplicaSet of a uid where it is known. Without it a Deployment's name is its ReplicaSet's
    less the pod's template hash, which is how the Deployment controller makes it.
    """
    owner = pod.owner
    if owner is None or owner.kind == "Node":  # a node owns the mirrors of its static pods
        return Owner("Pod", pod.name, pod.uid)
    if owner.kind == "ReplicaSet":
        held = replica_set(owner.uid)
        if held is not None:
            return held.owner or owner
        suffix = f"-{pod.template_hash}"
        if pod.template_hash and owner.name.endswith(suffix):
            return Owner("Deployment", owner.name.removesuffix(suffix), "")
    if owner.kind == "Job" and _CRON_JOB_RUN.search(owner.name):
        return Owner("CronJob", _CRON_JOB_RUN.sub("", owner.name), "")
    return owner
