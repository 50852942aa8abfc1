"""A running cluster to its Kubernetes API: the objects of nodes, workloads, services and pods as pods come and go."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from lab import cluster_objects, workload_objects
from lab.apiserver import ApiServer
from lab.births import OWNER_KINDS, Births, owner
from lab.store import Document, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.cluster import Cluster
    from lab.plan import Pod, Workload
    from lab.store import Json


class Registry:
    """The objects of one lab and the server that shows them."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._pods: dict[str, Document] = {}
        self._owners: dict[str, list[Json]] = {}
        self.store = Store()
        self.server = ApiServer(self.store, secrets.token_hex(16), clock=clock)

    def now(self) -> str:
        """The time as the API writes it."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock()))

    def _births(self) -> Births:
        return Births(self._cluster.lab_id, self.now())

    def populate(self) -> None:
        """Add everything that the cluster has from its start, its pods running."""
        births = self._births()
        names = {"default"} | {workload.namespace for workload in self._cluster.workloads}
        for document in cluster_objects.namespaces(names, births):
            self.store.put(document)
        for node in self._cluster.nodes:
            self.store.put(cluster_objects.node(node, births))
        for workload in self._cluster.workloads:
            self.add_workload(workload)
        for pod in self._cluster.pods:
            self.add_pod(pod)
            self.set_running(pod)
        for planned in self._cluster.services:
            service = cluster_objects.service(planned, births)
            self.store.put(service)
            for document in cluster_objects.endpoint_slices(service, self._cluster, births=births, pods=self._pods):
                self.store.put(document)
        for document in cluster_objects.policies(births):
            self.store.put(document)

    def add_workload(self, workload: Workload, owners: list[Json] | None = None) -> None:
        """Add a workload's own objects; `owners` is what controls the outermost, as a CronJob does a Job."""
        for kind, document in workload_objects.controllers(workload, self._births(), owners=owners):
            self.store.put(document)
            self._owners[f"{workload.namespace}/{workload.name}"] = owner(document, kind)

    def owners_of(self, workload: Workload) -> list[Json]:
        """The ownerReferences of what a workload controls."""
        return self._owners[f"{workload.namespace}/{workload.name}"]

    def remove_workload(self, workload: Workload) -> None:
        """Remove a workload without controllers below it, and forget it as an owner."""
        resource = OWNER_KINDS[workload.kind][0]
        found = self.store.get(resource, workload.namespace, name=workload.name)
        self.store.delete(found)
        del self._owners[f"{workload.namespace}/{workload.name}"]

    def add_pod(self, pod: Pod) -> None:
        """Add a pod as bound to its node, not yet running."""
        document = workload_objects.pod(pod, self._births(), owners=self.owners_of(pod.workload))
        self._put(pod, document)

    def set_running(self, pod: Pod) -> None:
        """Say that a pod runs, with its addresses."""
        self._put(pod, workload_objects.running(self._pods[pod.full_name], pod, now=self.now()))

    def set_succeeded(self, pod: Pod) -> None:
        """Say that a pod's containers have ended well."""
        self._put(pod, workload_objects.succeeded(self._pods[pod.full_name], pod, now=self.now()))

    def remove_pod(self, pod: Pod) -> None:
        """Remove a pod's object."""
        self.store.delete(self._pods.pop(pod.full_name))

    def _put(self, pod: Pod, document: Document) -> None:
        self._pods[pod.full_name] = document
        self.store.put(document)

    def write_kubeconfig(self, path: Path) -> None:
        """Write what a client needs to reach the server: a file only its owner can read."""
        path.touch(mode=0o600)
        name = f"lab-{self._cluster.lab_id}"
        path.write_text(
            "apiVersion: v1\nkind: Config\n"
            f"clusters:\n- name: {name}\n  cluster:\n    server: {self.server.address}\n"
            f"users:\n- name: {name}\n  user:\n    token: {self.server.token}\n"
            f"contexts:\n- name: {name}\n  context:\n    cluster: {name}\n    user: {name}\n"
            f"current-context: {name}\n"
        )
