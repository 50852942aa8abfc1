"""Kubernetes' objects to what one says of another: a pod's workload and services, a service's workload, a node's zone.

Objects come in any order, from several watches at once. Whoever changes something learns which pods and services have
to be named again.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple, TypeVar

from aggregator.identity.objects import (
    EndpointSlice,
    Node,
    Object,
    Owner,
    Pod,
    ReplicaSet,
    Resource,
    Service,
    to_workload,
)

ServiceKey = tuple[str, str]
"""Namespace and name."""

_Key = TypeVar("_Key")


class Stale(NamedTuple):
    """What has to be named again."""

    pods: frozenset[str] = frozenset()
    services: frozenset[ServiceKey] = frozenset()

    def __or__(self, other: "Stale") -> "Stale":
        return Stale(self.pods | other.pods, self.services | other.services)


class Relations:
    """The objects of now, and the ways from one to the other."""

    def __init__(self) -> None:
        self.pods: dict[str, Pod] = {}
        self.services: dict[ServiceKey, Service] = {}
        self.nodes: dict[str, Node] = {}
        self.replica_sets: dict[str, ReplicaSet] = {}
        self.slices: dict[str, EndpointSlice] = {}
        self._pods_of_owner: dict[str, set[str]] = {}
        self._pods_on_node: dict[str, set[str]] = {}
        self._slices_of_pod: dict[str, set[str]] = {}
        self._slices_of_service: dict[ServiceKey, set[str]] = {}
        self._zones: dict[str, str] = {}
        self._service_of_pod: dict[str, str] = {}
        self._pods_of_service: dict[ServiceKey, frozenset[str]] = {}

    def workload(self, pod: Pod) -> Owner:
        """What the pod belongs to."""
        return to_workload(pod, self.replica_sets.get)

    def service_of(self, pod: str) -> str:
        """The name of the first service that has this pod behind it, or was the last to have; empty where none had."""
        return self._service_of_pod.get(pod, "")

    def workload_of(self, service: ServiceKey) -> Owner | None:
        """The one workload that all known pods behind a service belong to, or did when it last had any.

        The service itself where they belong to several, None where no pod is known.
        """
        pods = (self.pods.get(uid) for uid in self._pods_of_service.get(service, ()))
        workloads = {self.workload(pod)._replace(uid="") for pod in pods if pod}
        if len(workloads) > 1:
            return Owner("Service", service[1], "")
        return next(iter(workloads), None)

    def zone(self, node: str) -> str:
        """The zone of a node by name, the last one where the node is gone; empty where it was never known."""
        return self._zones.get(node, "")

    def put_pod(self, pod: Pod) -> Stale:
        """Take a pod as it is now."""
        known = self.pods.get(pod.uid)
        if known is not None:
            self._unlink_pod(known)
        self.pods[pod.uid] = pod
        self._pods_on_node.setdefault(pod.node, set()).add(pod.uid)
        if pod.owner:
            self._pods_of_owner.setdefault(pod.owner.uid, set()).add(pod.uid)
        is_same = known is not None and known.owner == pod.owner
        return Stale(frozenset({pod.uid}), frozenset() if is_same else self._services_of(pod.uid))

    def put_replica_set(self, replica_set: ReplicaSet) -> Stale:
        """Take a ReplicaSet as it is now."""
        if self.replica_sets.get(replica_set.uid) == replica_set:
            return Stale()
        self.replica_sets[replica_set.uid] = replica_set
        pods = frozenset(self._pods_of_owner.get(replica_set.uid, ()))
        return Stale(pods, frozenset(service for pod in pods for service in self._services_of(pod)))

    def put_node(self, node: Node) -> Stale:
        """Take a node as it is now."""
        is_same = self.zone(node.name) == node.zone
        self.nodes[node.name] = node
        self._zones[node.name] = node.zone
        return Stale() if is_same else Stale(frozenset(self._pods_on_node.get(node.name, ())))

    def put_slice(self, held: EndpointSlice) -> Stale:
        """Take an EndpointSlice as it is now."""
        known = self.slices.get(held.uid)
        if known == held:
            return Stale()
        if known is not None:
            self._unlink_slice(known)
        self.slices[held.uid] = held
        self._slices_of_service.setdefault((held.namespace, held.service), set()).add(held.uid)
        for pod in held.pods:
            self._slices_of_pod.setdefault(pod, set()).add(held.uid)
        return self._recall(known or held) | self._recall(held)

    def remove_slice(self, uid: str) -> Stale:
        """Forget an EndpointSlice; a pod or service that it leaves with nothing keeps what it had last."""
        held = self.slices.pop(uid)
        self._unlink_slice(held)
        return self._recall(held)

    def _recall(self, held: EndpointSlice) -> Stale:
        """Remember what the pods and the service of a slice have now, if anything."""
        for pod in held.pods:
            name = min((name for _, name in self._services_of(pod)), default="")
            if name:
                self._service_of_pod[pod] = name
        service = (held.namespace, held.service)
        slices = (self.slices[uid] for uid in self._slices_of_service.get(service, ()))
        pods = frozenset(pod for each in slices for pod in each.pods)
        if pods:
            self._pods_of_service[service] = pods
        return Stale(held.pods, frozenset({service}))

    def forget(self, pods: Iterable[str]) -> None:
        """Forget pods that are gone, and what was remembered for them, or for pods that never came."""
        for uid in pods:
            pod = self.pods.pop(uid, None)
            if pod is not None:
                self._unlink_pod(pod)
        for uid in self._service_of_pod.keys() - self.pods.keys() - self._slices_of_pod.keys():
            del self._service_of_pod[uid]
        for service in self._pods_of_service.keys() - self._slices_of_service.keys() - self.services.keys():
            del self._pods_of_service[service]
        for name in self._zones.keys() - self.nodes.keys() - self._pods_on_node.keys():
            del self._zones[name]

    def remove_service(self, service: Service) -> None:
        """Forget a service; what it held stays named as it was."""
        del self.services[service.namespace, service.name]

    def remove_node(self, node: Node) -> None:
        """Forget a node, but for its zone."""
        del self.nodes[node.name]

    def objects(self, resource: Resource) -> list[Object]:
        """The known objects of a resource."""
        held: dict[Resource, Collection[Object]] = {
            Resource.PODS: self.pods.values(),
            Resource.SERVICES: self.services.values(),
            Resource.NODES: self.nodes.values(),
            Resource.REPLICA_SETS: self.replica_sets.values(),
            Resource.ENDPOINT_SLICES: self.slices.values(),
        }
        return list(held[resource])

    def _services_of(self, pod: str) -> frozenset[ServiceKey]:
        slices = (self.slices[uid] for uid in self._slices_of_pod.get(pod, ()))
        return frozenset((held.namespace, held.service) for held in slices if held.service)

    def _unlink_slice(self, held: EndpointSlice) -> None:
        _discard(self._slices_of_service, (held.namespace, held.service), uid=held.uid)
        for pod in held.pods:
            _discard(self._slices_of_pod, pod, uid=held.uid)

    def _unlink_pod(self, pod: Pod) -> None:
        _discard(self._pods_on_node, pod.node, uid=pod.uid)
        if pod.owner:
            _discard(self._pods_of_owner, pod.owner.uid, uid=pod.uid)


def _discard(index: dict[_Key, set[str]], key: _Key, *, uid: str) -> None:
    held = index[key]
    held.discard(uid)
    if not held:
        del index[key]
