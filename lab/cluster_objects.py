"""Planned nodes, namespaces and services to their Kubernetes objects, shaped as an API server gives them (1.34)."""

from __future__ import annotations

import platform
import uuid
from typing import TYPE_CHECKING

from lab.births import NAME_LABEL, Births, owner
from lab.cluster import SINK
from lab.store import Document, Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.cluster import Cluster
    from lab.plan import Node, Service


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
        "nodeInfo": _node_info(this),
    }
    return Document("nodes", births.metadata("Node", this.name, labels=labels), {"spec": spec, "status": status})


def _node_info(this: Node) -> dict[str, Json]:
    machine = uuid.uuid5(uuid.NAMESPACE_URL, f"{this.lab_id}/{this.name}").hex
    return {
        "architecture": "amd64",
        "bootID": machine,
        "containerRuntimeVersion": "containerd://2.1.4",
        "kernelVersion": platform.release(),
        "kubeProxyVersion": "",
        "kubeletVersion": "v1.34.1",
        "machineID": machine,
        "operatingSystem": "linux",
        "osImage": "KubeNetInsight lab",
        "systemUUID": machine,
    }


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
