"""A planned cluster to Kubernetes objects, shaped as an API server gives them (Kubernetes 1.34)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.cluster import SINK
from lab.store import Document, Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.cluster import Cluster
    from lab.plan import Node, Pod, Port, Service, Workload

OWNER_KINDS = {
    "ReplicaSet": ("replicasets", "apps/v1"),
    "Deployment": ("deployments", "apps/v1"),
    "StatefulSet": ("statefulsets", "apps/v1"),
    "DaemonSet": ("daemonsets", "apps/v1"),
    "Job": ("jobs", "batch/v1"),
    "CronJob": ("cronjobs", "batch/v1"),
    "Service": ("services", "v1"),
}
NAME_LABEL = "app.kubernetes.io/name"


@dataclass(frozen=True)
class Births:
    """Where uids and creation times come from: the lab's id and the time (RFC 3339, whole seconds) it is now."""

    lab_id: str
    now: str

    def metadata(
        self, kind: str, name: str, *, namespace: str = "", labels: dict[str, str] | None = None
    ) -> dict[str, Json]:
        """Metadata of an object that is created now."""
        identity = f"{self.lab_id}/{self.now}/{kind}/{namespace}/{name}"
        metadata: dict[str, Json] = {"name": name}
        if namespace:
            metadata["namespace"] = namespace
        metadata["uid"] = str(uuid.uuid5(uuid.NAMESPACE_URL, identity))
        metadata["creationTimestamp"] = self.now
        if labels:
            metadata["labels"] = dict(labels)
        return metadata


def owner(document: Document, kind: str) -> list[Json]:
    """The ownerReferences of what this object controls."""
    return [
        {
            "apiVersion": OWNER_KINDS[kind][1],
            "kind": kind,
            "name": document.name,
            "uid": document.metadata["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def namespaces(names: set[str], births: Births) -> Iterator[Document]:
    """A Namespace each."""
    for name in sorted(names):
        metadata = births.metadata("Namespace", name, labels={"kubernetes.io/metadata.name": name})
        yield Document("namespaces", metadata, {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})


def node(this: Node, births: Births) -> Document:
    """The Node object of a lab node."""
    labels = {
        "kubernetes.io/hostname": this.name,
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/region": "lab",
        "topology.kubernetes.io/zone": this.zone,
    }
    addresses: list[Json] = [{"type": "InternalIP", "address": address} for address in this.addresses]
    spec: dict[str, Json] = {"podCIDR": this.pod_ranges[0], "podCIDRs": list(this.pod_ranges)}
    ready: dict[str, Json] = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "lastTransitionTime": births.now,
    }
    status: dict[str, Json] = {
        "addresses": [*addresses, {"type": "Hostname", "address": this.name}],
        "conditions": [ready],
        "nodeInfo": {"kubeletVersion": "v1.34.1", "operatingSystem": "linux"},
    }
    return Document("nodes", births.metadata("Node", this.name, labels=labels), {"spec": spec, "status": status})


def controllers(workload: Workload, births: Births, *, owners: list[Json] | None = None) -> list[tuple[str, Document]]:
    """A workload's own objects with their kinds, outermost first; the last one owns the pods."""
    labels = {NAME_LABEL: workload.name}
    count: Json = len(workload.nodes)
    spec: dict[str, Json] = {
        "selector": {"matchLabels": dict(labels)},
        "template": {"metadata": {"labels": dict(labels)}},
    }
    if workload.kind in {"Deployment", "StatefulSet"}:
        spec["replicas"] = count
    metadata = births.metadata(workload.kind, workload.name, namespace=workload.namespace, labels=labels)
    if owners is not None:
        metadata["ownerReferences"] = owners
    top = Document(OWNER_KINDS[workload.kind][0], metadata, {"spec": spec, "status": {}})
    if workload.kind != "Deployment":
        return [(workload.kind, top)]
    labels |= {"pod-template-hash": workload.template_hash}
    name = f"{workload.name}-{workload.template_hash}"
    metadata = births.metadata("ReplicaSet", name, namespace=workload.namespace, labels=labels)
    metadata["ownerReferences"] = owner(top, "Deployment")
    status: dict[str, Json] = {"replicas": count, "readyReplicas": count}
    return [("Deployment", top), ("ReplicaSet", Document("replicasets", metadata, {"spec": spec, "status": status}))]


def pod(this: Pod, births: Births, *, owners: list[Json]) -> Document:
    """A Pod as it is bound to its node: Pending, without addresses."""
    labels = {NAME_LABEL: this.workload.name}
    if this.workload.kind == "Deployment":
        labels["pod-template-hash"] = this.workload.template_hash
    metadata = births.metadata("Pod", this.name, namespace=this.namespace, labels=labels)
    metadata["ownerReferences"] = owners
    container: dict[str, Json] = {
        "name": this.workload.name,
        "image": f"registry.k8s.io/lab/{this.workload.name}:1",
        "ports": [_container_port(port, this.host_network) for port in this.workload.ports],
    }
    spec: dict[str, Json] = {"nodeName": this.node.name, "containers": [container], "serviceAccountName": "default"}
    if this.host_network:
        spec["hostNetwork"] = True
    return Document("pods", metadata, {"spec": spec, "status": {"phase": "Pending", "qosClass": "BestEffort"}})


def _container_port(port: Port, is_host: bool) -> Json:  # noqa: FBT001 (a field's value, passed on)
    found: dict[str, Json] = {"name": port.name, "containerPort": port.number, "protocol": port.protocol}
    return found | {"hostPort": port.number} if is_host else found


def running(document: Document, this: Pod, *, now: str) -> Document:
    """The Pod once its kubelet has started it."""
    state: dict[str, Json] = {"running": {"startedAt": now}}
    return _with_status(document, this, phase="Running", state=state)


def succeeded(document: Document, this: Pod, *, now: str) -> Document:
    """The Pod once its containers have ended well: its addresses are free from now on."""
    state: dict[str, Json] = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": now}}
    return _with_status(document, this, phase="Succeeded", state=state)


def _with_status(document: Document, this: Pod, *, phase: str, state: dict[str, Json]) -> Document:
    is_ready = phase == "Running"
    ready: dict[str, Json] = {"type": "Ready", "status": str(is_ready)}
    status: dict[str, Json] = {
        "phase": phase,
        "conditions": [ready],
        "hostIP": this.node.addresses[0],
        "hostIPs": [{"ip": address} for address in this.node.addresses],
        "podIP": this.addresses[0],
        "podIPs": [{"ip": address} for address in this.addresses],
        "startTime": document.metadata["creationTimestamp"],
        "containerStatuses": [{"name": this.workload.name, "ready": is_ready, "restartCount": 0, "state": dict(state)}],
        "qosClass": "BestEffort",
    }
    return Document("pods", document.metadata, document.content | {"status": status})


def service(this: Service, births: Births) -> Document:
    """The Service object."""
    port: dict[str, Json] = {
        "name": this.port.name,
        "protocol": this.port.protocol,
        "port": this.port.number,
        "targetPort": this.target_port,
    }
    spec: dict[str, Json] = {
        "type": "ClusterIP",
        "clusterIP": this.addresses[0],
        "clusterIPs": list(this.addresses),
        "ipFamilies": ["IPv4", "IPv6"],
        "ipFamilyPolicy": "PreferDualStack",
        "selector": {NAME_LABEL: this.name},
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
    }
    if this.node_port is not None:
        port["nodePort"] = this.node_port
        spec |= {"type": "NodePort", "externalTrafficPolicy": "Local" if this.is_local else "Cluster"}
    spec["ports"] = [port]
    metadata = births.metadata("Service", this.name, namespace=this.namespace, labels={NAME_LABEL: this.name})
    return Document("services", metadata, {"spec": spec, "status": {"loadBalancer": {}}})


def endpoint_slices(
    this: Document, cluster: Cluster, *, births: Births, pods: dict[str, Document]
) -> Iterator[Document]:
    """The EndpointSlices of a Service, one for each family; `pods` are the Pod objects by namespace/name."""
    planned = cluster.service(f"{this.namespace}/{this.name}")
    for family, address_type in enumerate(("IPv4", "IPv6")):
        name = f"{this.name}-{address_type.lower()}"
        labels = {
            "kubernetes.io/service-name": this.name,
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }
        metadata = births.metadata("EndpointSlice", name, namespace=this.namespace, labels=labels)
        metadata["ownerReferences"] = owner(this, "Service")
        endpoints: list[Json] = [
            {
                "addresses": [pod.addresses[family]],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": pod.node.name,
                "zone": pod.node.zone,
                "targetRef": {
                    "kind": "Pod",
                    "namespace": pod.namespace,
                    "name": pod.name,
                    "uid": pods[pod.full_name].metadata["uid"],
                },
            }
            for pod in cluster.endpoints(planned)
        ]
        port: dict[str, Json] = {
            "name": planned.port.name,
            "port": planned.target_port,
            "protocol": planned.port.protocol,
        }
        yield Document(
            "endpointslices", metadata, {"addressType": address_type, "endpoints": endpoints, "ports": [port]}
        )


def policies(births: Births) -> Iterator[Document]:
    """The NetworkPolicy behind the firewall's drops: nobody sends telemetry to the sink, anything else is allowed."""
    allowed: Json = [{"protocol": SINK.protocol, "port": SINK.number}]
    spec: dict[str, Json] = {
        "podSelector": {"matchLabels": {NAME_LABEL: "sink"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": allowed}],
    }
    yield Document("networkpolicies", births.metadata("NetworkPolicy", "only-sink", namespace="data"), {"spec": spec})
