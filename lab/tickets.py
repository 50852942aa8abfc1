"""A CronJob to pods that live two seconds: made, seen, gone, and their addresses used again by the next.

Each round is what Kubernetes does: a Job of the CronJob, its pod bound to a node, its namespace and address made, its
program run; when that ends the pod succeeds, its address is free, and pod and Job are deleted.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from lab import namespaces, network
from lab.cluster import TICKET
from lab.plan import FIRST_POD, Pod, Workload, to_letters
from lab.traffic import ticket_tasks, to_program

if TYPE_CHECKING:
    from lab.cluster import Cluster
    from lab.crew import Crew
    from lab.registry import Registry

EVERY_SECONDS = 3.0
END_SECONDS = 30.0


class Tickets:
    """The comings and goings of one lab's short-lived pods, in a thread of its own."""

    def __init__(self, cluster: Cluster, registry: Registry, *, crew: Crew) -> None:
        self._cluster = cluster
        self._registry = registry
        self._crew = crew
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._made = 0
        self._pod: Pod | None = None

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The short-lived pod that is there now, if any."""
        pod = self._pod
        return () if pod is None else (pod,)

    def start(self) -> None:
        """Begin; one pod after another until stop()."""
        self._stopping.clear()
        self._registry.add_workload(TICKET)
        self._thread = threading.Thread(target=self._run, name="tickets", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the pod that is there finish, and make no more.

        Raises:
            Exception: what went wrong in a round.
        """
        if self._thread is None:
            return
        self._stopping.set()
        self._thread.join()
        self._thread = None
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while True:
                self._round()
                if self._stopping.wait(EVERY_SECONDS):
                    return
        except Exception as error:  # noqa: BLE001 (handed to who calls stop)
            self._error = error

    def _round(self) -> None:
        self._made += 1
        node = self._cluster.nodes[TICKET.nodes[0] - 1]
        job = Workload(TICKET.namespace, f"{TICKET.name}-{self._made}", "Job", TICKET.nodes)
        self._registry.add_workload(job, owners=self._registry.owners_of(TICKET))
        taken = {pod.addresses for pod in self._cluster.pods}
        host = next(host for host in range(FIRST_POD, 250) if node.pod_addresses(host) not in taken)
        name = f"{job.name}-{to_letters(job.name, 5)}"
        pod = Pod(job.namespace, name, job, node, node.pod_addresses(host))
        self._registry.add_pod(pod)
        network.add_pod(pod)
        self._pod = pod
        self._crew.start(to_program(pod, ticket_tasks(self._cluster)))
        self._registry.set_running(pod)
        self._crew.wait(pod.full_name, END_SECONDS)
        self._pod = None
        self._registry.set_succeeded(pod)
        namespaces.remove(pod.netns_path)
        self._registry.remove_pod(pod)
        self._registry.remove_workload(job)
