"""Names to metadata: uids and creation times of the lab's Kubernetes objects, and who owns whom."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.store import Document, Json

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
