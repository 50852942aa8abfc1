"""Planned workloads and pods to their Kubernetes objects, shaped as an API server gives them (Kubernetes 1.34)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.births import NAME_LABEL, OWNER_KINDS, Births, owner
from lab.store import Document, Json

if TYPE_CHECKING:
    from lab.plan import Pod, Port, Workload


def controllers(workload: Workload, births: Births, *, owners: list[Json] | None = None) -> list[tuple[str, Document]]:
    """A workload's own objects with their kinds, outermost first; the last one owns the pods."""
    labels = {NAME_LABEL: workload.name}
    metadata = births.metadata(workload.kind, workload.name, namespace=workload.namespace, labels=labels)
    if owners is not None:
        metadata["ownerReferences"] = owners
    content: dict[str, Json] = {"spec": _controller_spec(workload, labels), "status": _controller_status(workload)}
    top = Document(OWNER_KINDS[workload.kind][0], metadata, content)
    if workload.kind != "Deployment":
        return [(workload.kind, top)]
    labels = _pod_labels(workload)
    name = f"{workload.name}-{workload.template_hash}"
    metadata = births.metadata("ReplicaSet", name, namespace=workload.namespace, labels=labels)
    metadata["ownerReferences"] = owner(top, "Deployment")
    content = {"spec": _controller_spec(workload, labels), "status": _controller_status(workload)}
    return [("Deployment", top), ("ReplicaSet", Document("replicasets", metadata, content))]


def _pod_labels(workload: Workload) -> dict[str, str]:
    labels = {NAME_LABEL: workload.name}
    return labels | {"pod-template-hash": workload.template_hash} if workload.kind == "Deployment" else labels


def _controller_spec(workload: Workload, labels: dict[str, str]) -> dict[str, Json]:
    template: dict[str, Json] = {"metadata": {"labels": dict(labels)}, "spec": _pod_spec(workload)}
    if workload.kind == "CronJob":
        return {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}}
    spec: dict[str, Json] = {"selector": {"matchLabels": dict(labels)}, "template": template}
    if workload.kind in {"Deployment", "StatefulSet"}:
        spec["replicas"] = len(workload.nodes)
    if workload.kind == "StatefulSet":
        spec["serviceName"] = workload.name
    return spec


def _controller_status(workload: Workload) -> dict[str, Json]:
    count = len(workload.nodes)
    by_kind: dict[str, dict[str, Json]] = {
        "DaemonSet": {
            "currentNumberScheduled": count,
            "desiredNumberScheduled": count,
            "numberMisscheduled": 0,
            "numberReady": count,
        },
        "Job": {"active": count},
        "CronJob": {},
    }
    return by_kind.get(workload.kind, {"replicas": count, "readyReplicas": count})


def _pod_spec(workload: Workload) -> dict[str, Json]:
    container: dict[str, Json] = {
        "name": workload.name,
        "image": _image(workload),
        "ports": [_container_port(port, workload) for port in workload.ports],
    }
    spec: dict[str, Json] = {"containers": [container], "serviceAccountName": "default"}
    return spec | {"hostNetwork": True} if workload.host_network else spec


def _image(workload: Workload) -> str:
    return f"registry.k8s.io/lab/{workload.name}:1"


def _container_port(port: Port, workload: Workload) -> Json:
    found: dict[str, Json] = {"name": port.name, "containerPort": port.number, "protocol": port.protocol}
    return found | {"hostPort": port.number} if workload.host_network else found


def pod(this: Pod, births: Births, *, owners: list[Json]) -> Document:
    """A Pod as it is bound to its node: Pending, without addresses."""
    metadata = births.metadata("Pod", this.name, namespace=this.namespace, labels=_pod_labels(this.workload))
    metadata["ownerReferences"] = owners
    spec = _pod_spec(this.workload) | {"nodeName": this.node.name}
    return Document("pods", metadata, {"spec": spec, "status": {"phase": "Pending", "qosClass": "BestEffort"}})


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
        "containerStatuses": [
            {
                "name": this.workload.name,
                "ready": is_ready,
                "restartCount": 0,
                "image": _image(this.workload),
                "imageID": f"{_image(this.workload)}@sha256:{'0' * 64}",
                "containerID": f"containerd://{this.interface}",
                "state": dict(state),
            }
        ],
        "qosClass": "BestEffort",
    }
    return Document("pods", document.metadata, document.content | {"status": status})
