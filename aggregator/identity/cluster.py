"""Events of Kubernetes' objects and inventories to leases: who holds which address, under which names.

The result depends on what the objects are and were, not on how that was told: by a list or by a watch, once or again,
in which order between resources.
"""

from aggregator.identity.address_book import AddressBook
from aggregator.identity.addresses import is_on_link
from aggregator.identity.claims import Claim, Rank
from aggregator.identity.lease_table import LeaseTable
from aggregator.identity.leases import FOREVER, Kind, Lease, Names
from aggregator.identity.objects import (
    Changed,
    Deleted,
    EndpointSlice,
    Event,
    Listed,
    Network,
    Node,
    Object,
    Pod,
    ReplicaSet,
    Resource,
    Service,
)
from aggregator.identity.published_ports import EVERY_NODE, PublishedPorts
from aggregator.identity.relations import Relations, ServiceKey, Stale

_INVENTORY = "inventory/"
"""Begins the uid of what a node's collector claims for it."""


def node_place(name: str) -> str:
    """The name of a node's own place in the lease table."""
    return f"node:{name}"


class ClusterState:
    """All that is known of the cluster, and the leases that follow from it."""

    def __init__(self, table: LeaseTable) -> None:
        self.book = AddressBook(table)
        self.ports = PublishedPorts()
        self.listed: set[Resource] = set()
        """Resources whose first list is complete."""
        self.pod_ranges: dict[Network, int] = {}
        """Of nodes, with when each was last seen: what an address is does not depend on the moment."""
        self.range_revision = 0
        """Grows whenever the pod ranges change."""
        self._table = table
        self._relations = Relations()
        self._gone: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._inventories: dict[str, bytes] = {}

    def apply(self, event: Event) -> None:
        """Take an event. Repeating one changes nothing."""
        match event:
            case Changed(objects, observed_ns):
                for each in objects:
                    if each.uid not in self._gone:
                        self._change(each, observed_ns)
            case Deleted(gone, observed_ns):
                if gone.uid not in self._gone:
                    self._change(gone, observed_ns)
                    self._remove(gone, observed_ns=observed_ns)
            case Listed(resource, uids, observed_ns):
                self._remove_missing(resource, uids, observed_ns=observed_ns)
                self.listed.add(resource)

    def learn_inventory(self, node: str, addresses: bytes, *, observed_ns: int) -> None:
        """These are all of a node's own addresses by its collector, 16 bytes each; in the same order each time."""
        if self._inventories.get(node) != addresses:
            self._inventories[node] = addresses
            self._claim_inventory(node, observed_ns)

    def prune(self, before_ns: int) -> None:
        """Forget what ended before this time."""
        for pod in self._relations.pods.values():
            if pod.uid not in self._gone:
                self.ports.put(pod.node, pod.host_ports, observed_ns=before_ns)
        for service in self._relations.services.values():
            self.ports.put(EVERY_NODE, service.node_ports, observed_ns=before_ns)
        current = {network for node in self._relations.nodes.values() for network in node.pod_ranges}
        kept = {each: at for each, at in self.pod_ranges.items() if at >= before_ns or each in current}
        self._set_pod_ranges(kept)
        forgotten = [uid for uid, at in self._gone.items() if at < before_ns]
        self._relations.forget(forgotten)
        for uid in forgotten:
            del self._gone[uid]
            self._ends.pop(uid, None)
        self.ports.prune(before_ns)
        self.book.prune(before_ns)
        self._table.compact()

    def _change(self, each: Object, observed_ns: int) -> None:
        match each:
            case Pod():
                if each.is_finished:
                    self._end_pod(each, observed_ns)
                self.ports.put(each.node, each.host_ports, observed_ns=observed_ns)
                self._rename(self._relations.put_pod(each), observed_ns)
            case Service():
                self.ports.put(EVERY_NODE, each.node_ports, observed_ns=observed_ns)
                self._relations.services[each.namespace, each.name] = each
                self._claim_service((each.namespace, each.name), observed_ns)
            case EndpointSlice():
                self._rename(self._relations.put_slice(each), observed_ns)
            case Node():
                self._set_pod_ranges(self.pod_ranges | dict.fromkeys(each.pod_ranges, observed_ns))
                self._rename(self._relations.put_node(each), observed_ns)
                self._claim_node(each, observed_ns)
            case ReplicaSet():
                self._rename(self._relations.put_replica_set(each), observed_ns)

    def _remove(self, each: Object, *, observed_ns: int, is_overdue: bool = False) -> None:
        self._gone[each.uid] = observed_ns
        match each:
            case Pod():
                # It stays until it is pruned: what else is heard of a short-lived pod often comes after its end.
                self._end_pod(each, observed_ns)
            case Service():
                self._relations.remove_service(each)
            case EndpointSlice():
                self._rename(self._relations.remove_slice(each.uid), observed_ns)
            case Node():
                self._relations.remove_node(each)
                self._inventories.pop(each.name, None)
                self.book.end(_INVENTORY + each.name, at_ns=observed_ns, observed_ns=observed_ns)
            case ReplicaSet():
                self._relations.replica_sets.pop(each.uid, None)
        end = self._ends.get(each.uid, observed_ns)
        self.book.end(each.uid, at_ns=end, observed_ns=observed_ns, is_overdue=is_overdue)

    def _remove_missing(self, resource: Resource, uids: frozenset[str], *, observed_ns: int) -> None:
        for each in self._relations.objects(resource):
            if each.uid not in uids and each.uid not in self._gone:
                self._remove(each, observed_ns=observed_ns, is_overdue=True)
        ranks = _RANKS.get(resource, ())
        for uid in self.book.uids(lambda claim: claim.rank in ranks and not claim.uid.startswith(_INVENTORY)) - uids:
            self.book.end(uid, at_ns=observed_ns, observed_ns=observed_ns, is_overdue=True)

    def _rename(self, stale: Stale, observed_ns: int) -> None:
        for uid in stale.pods:
            if uid in self._relations.pods:
                self._claim_pod(self._relations.pods[uid], observed_ns)
        for service in stale.services:
            self._claim_service(service, observed_ns)

    def _claim_pod(self, pod: Pod, observed_ns: int) -> None:
        workload = self._relations.workload(pod)
        for address in pod.addresses:
            # A pod that ends leaves its service first: the last one stays its name.
            service = self._relations.service_of(pod.uid) or self.book.names(address, pod.uid).service
            zone = self._relations.zone(pod.node)
            names = Names(pod.namespace, workload.name, workload.kind, pod.name, service, pod.node, zone)
            claim = Claim(pod.uid, Rank.POD, names, pod.created_ns, pod.started_ns, self._ends.get(pod.uid))
            self.book.put(address, claim, observed_ns=observed_ns)
        self.book.end(pod.uid, at_ns=observed_ns, observed_ns=observed_ns, keep=pod.addresses)

    def _end_pod(self, pod: Pod, observed_ns: int) -> None:
        end = min(observed_ns, pod.ended_by_ns or observed_ns)
        self._ends[pod.uid] = min(end, self._ends.get(pod.uid, end))

    def _claim_service(self, key: ServiceKey, observed_ns: int) -> None:
        service = self._relations.services.get(key)
        if service is None:
            return
        workload = self._relations.workload_of(key)
        ranked = [(address, Rank.CLUSTER_IP) for address in service.cluster_ips]
        ranked += [(address, Rank.EXTERNAL_IP) for address in service.external_ips]
        for address, rank in ranked:
            known = self.book.names(address, service.uid)
            name, kind = (workload.name, workload.kind) if workload else (known.workload, known.workload_kind)
            names = Names(service.namespace, name or service.name, kind or "Service", service=service.name)
            claim = Claim(service.uid, rank, names, service.created_ns, service.created_ns)
            self.book.put(address, claim, observed_ns=observed_ns)
        keep = (*service.cluster_ips, *service.external_ips)
        self.book.end(service.uid, at_ns=observed_ns, observed_ns=observed_ns, keep=keep)

    def _claim_node(self, node: Node, observed_ns: int) -> None:
        for address in node.addresses:
            claim = Claim(node.uid, Rank.NODE, self._node_names(node.name), node.created_ns, node.created_ns)
            self.book.put(address, claim, observed_ns=observed_ns)
        self.book.end(node.uid, at_ns=observed_ns, observed_ns=observed_ns, keep=node.addresses)
        self._claim_inventory(node.name, observed_ns)

    def _claim_inventory(self, name: str, observed_ns: int) -> None:
        names, uid = self._node_names(name), _INVENTORY + name
        self._table.put_place(node_place(name), Lease(b"", 0, FOREVER, Kind.NODE, names))
        self.book.revision += 1
        own = self._inventories.get(name, b"")
        addresses = [address for at in range(0, len(own), 16) if not is_on_link(address := own[at : at + 16])]
        for address in addresses:
            self.book.put(address, Claim(uid, Rank.NODE, names, 0, 0), observed_ns=observed_ns)
        self.book.end(uid, at_ns=observed_ns, observed_ns=observed_ns, keep=addresses)

    def _set_pod_ranges(self, ranges: dict[Network, int]) -> None:
        self.range_revision += ranges.keys() != self.pod_ranges.keys()
        self.pod_ranges = ranges

    def _node_names(self, name: str) -> Names:
        return Names(workload=name, workload_kind="Node", node=name, zone=self._relations.zone(name))


_RANKS = {
    Resource.PODS: (Rank.POD,),
    Resource.SERVICES: (Rank.CLUSTER_IP, Rank.EXTERNAL_IP),
    Resource.NODES: (Rank.NODE,),
}
