"""Workloads and services to the cluster that every lab shows: which pod runs where, with which address."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from lab.plan import FIRST_POD, Node, Pod, Port, Service, Workload, to_pod_name

NODES = 3
HTTP = Port("http", 8080)
DATABASE = Port("database", 5432)
STORE = Port("store", 9000)
DNS = Port("dns", 53, "UDP")
ECHO = Port("echo", 7007, "UDP")
SINK = Port("sink", 8125, "UDP")
AGENT = Port("metrics", 9100)
CLOSED_PORT = 9999
BLACK_HOLE_PORT = 6666
FORBIDDEN = Port("telemetry", 8126, "UDP")

WORKLOADS = (
    Workload("shop", "web", "Deployment", (1, 2), (HTTP,)),
    Workload("shop", "api", "Deployment", (1, 2, 3), (HTTP,)),
    Workload("shop", "loadgen", "Deployment", (3,)),
    Workload("data", "db", "StatefulSet", (3, 1), (DATABASE,)),
    Workload("data", "store", "Deployment", (1,), (STORE, ECHO)),
    Workload("data", "sink", "Deployment", (2,), (SINK, FORBIDDEN)),
    Workload("kube-system", "dns", "Deployment", (1, 2), (DNS,)),
    Workload("kube-system", "agent", "DaemonSet", (1, 2, 3), (AGENT,), host_network=True),
    Workload("monitoring", "scraper", "Deployment", (3,)),
    Workload("batch", "prober", "Deployment", (2,)),
)
UPLOAD = Workload("batch", "upload", "Job", (3,))
TICKET = Workload("batch", "ticket", "CronJob", (2,))

SERVICES = (
    Service("shop", "web", 20, Port("http", 80), HTTP.number, node_port=30080, is_local=True),
    Service("shop", "api", 30, Port("http", 80), HTTP.number, node_port=30081),
    Service("data", "db", 40, DATABASE, DATABASE.number),
    Service("data", "store", 50, STORE, STORE.number),
    Service("kube-system", "dns", 10, DNS, DNS.number),
)
DOMAIN = "svc.cluster.local"


@dataclass(frozen=True)
class Cluster:
    """A lab's nodes and the pods that are there from its start."""

    lab_id: str
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    workloads: tuple[Workload, ...] = WORKLOADS
    services: tuple[Service, ...] = SERVICES

    def pods_of(self, name: str) -> tuple[Pod, ...]:
        """Pods of the workload "namespace/name", in the order of its nodes."""
        return tuple(pod for pod in self.pods if f"{pod.namespace}/{pod.workload.name}" == name)

    def service(self, name: str) -> Service:
        """The service "namespace/name"."""
        return next(service for service in self.services if service.full_name == name)

    def endpoints(self, service: Service) -> tuple[Pod, ...]:
        """The pods behind a service: those of the workload with its name."""
        return self.pods_of(service.full_name)


def plan_cluster(lab_id: str) -> Cluster:
    """The whole cluster of a lab."""
    nodes = tuple(Node(index, lab_id) for index in range(1, NODES + 1))
    used: dict[int, int] = defaultdict(lambda: FIRST_POD)
    pods = []
    for workload in WORKLOADS:
        for ordinal, index in enumerate(workload.nodes):
            node = nodes[index - 1]
            addresses = node.addresses if workload.host_network else node.pod_addresses(used[index])
            used[index] += not workload.host_network
            pods.append(Pod(workload.namespace, to_pod_name(workload, ordinal), workload, node, addresses))
    return Cluster(lab_id, nodes, tuple(pods))
