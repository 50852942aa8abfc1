"""Jobs to pods that come and go: a bulk upload, and tickets that live two seconds and use each other's addresses.

Each pod has the life that Kubernetes gives it: its Job, the pod bound to a node, its namespace and address, its
program; when that ends the pod succeeds and its address is free at once. The tickets' CronJob makes the next one soon.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from lab import namespaces, network
from lab.cluster import TICKET, UPLOAD
from lab.plan import FIRST_POD, Node, Pod, Workload, to_letters
from lab.traffic import ticket_tasks, to_program, upload_tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.cluster import Cluster
    from lab.crew import Crew
    from lab.programs.tasks import Task
    from lab.registry import Registry

EVERY_SECONDS = 3.0
POLL_SECONDS = 0.2
LAST_HOST = 254


class Jobs:
    """The short-lived pods of one lab, each kind in a thread of its own.

    Attributes:
        ended: the pods that have come and gone, in that order.
    """

    def __init__(self, cluster: Cluster, registry: Registry, *, crew: Crew) -> None:
        self._cluster = cluster
        self._registry = registry
        self._crew = crew
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[Exception] = []
        self._lock = threading.Lock()
        self._made = 0
        self._present: dict[str, Pod] = {}
        self.ended: list[Pod] = []

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The short-lived pods that are there now."""
        with self._lock:
            return tuple(self._present.values())

    def start(self) -> None:
        """Begin: one upload, and tickets one after another until stop()."""
        self._stopping.clear()
        if not self._made:
            self._registry.add_workload(TICKET)
        for work in (self._run_upload, self._run_tickets):
            thread = threading.Thread(target=self._guard, args=(work,), name=work.__name__, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Let the pods that are there finish early, and make no more.

        Raises:
            Exception: what went wrong meanwhile.
        """
        self._stopping.set()
        while self._threads:
            self._threads.pop().join()
        if self._errors:
            raise self._errors.pop()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 (raised again by stop, in the thread that can act on it)
            self._errors.append(error)

    def _run_upload(self) -> None:
        job, pod = self._begin(UPLOAD, upload_tasks(self._cluster), owner=None)
        self._end(pod)
        self._stopping.wait()  # a Job that is done stays for people to look at
        self._remove(job, pod)

    def _run_tickets(self) -> None:
        while True:
            job, pod = self._begin(TICKET, ticket_tasks(self._cluster), owner=TICKET)
            self._end(pod)
            self._remove(job, pod)
            if self._stopping.wait(EVERY_SECONDS):
                return

    def _begin(self, of: Workload, tasks: tuple[Task, ...], *, owner: Workload | None) -> tuple[Workload, Pod]:
        with self._lock:
            self._made += 1
            job = Workload(of.namespace, f"{of.name}-{self._made}", "Job", of.nodes)
            node = self._cluster.nodes[of.nodes[0] - 1]
            pod = Pod(job.namespace, f"{job.name}-{to_letters(job.name, 5)}", job, node, self._free_addresses(node))
            self._present[pod.full_name] = pod
        self._registry.add_workload(job, owners=None if owner is None else self._registry.owners_of(owner))
        self._registry.add_pod(pod)
        network.add_pod(pod)
        self._crew.start([to_program(pod, tasks)])
        self._registry.set_running(pod)
        return job, pod

    def _free_addresses(self, node: Node) -> tuple[str, str]:
        taken = {pod.addresses for pod in (*self._cluster.pods, *self._present.values())}
        return next(found for host in range(FIRST_POD, LAST_HOST) if (found := node.pod_addresses(host)) not in taken)

    def _end(self, pod: Pod) -> None:
        while not self._crew.wait(pod.full_name, POLL_SECONDS):
            if self._stopping.is_set():
                self._crew.stop([pod.full_name])
        self._registry.set_succeeded(pod)
        namespaces.remove(pod.netns_path)
        with self._lock:
            del self._present[pod.full_name]
            self.ended.append(pod)

    def _remove(self, job: Workload, pod: Pod) -> None:
        self._registry.remove_pod(pod)
        self._registry.remove_workload(job)
