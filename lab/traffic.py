"""A planned cluster to the traffic in it: which program runs where, and who talks to whom how often.

Rates are those of a demonstration: a fraction of a core altogether. Tiers say in which order programs stop: clients
first, so that every conversation ends in order and both sides' ledgers agree.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from lab.cluster import AGENT, BLACK_HOLE_PORT, CLOSED_PORT, DATABASE, DNS, DOMAIN, ECHO, FORBIDDEN, HTTP, SINK, STORE
from lab.network import outside_path
from lab.plan import OUTSIDE, STATE
from lab.programs.tasks import (
    Ask,
    Call,
    Dial,
    Echo,
    Hoard,
    Ping,
    Program,
    Send,
    Serve,
    ServeNames,
    Target,
    Task,
    Upload,
)

if TYPE_CHECKING:
    from pathlib import Path

    from lab.cluster import Cluster
    from lab.plan import Node, Pod

OUTSIDE_PORT = 443
UPLOAD_BYTES = 24 << 20
UPLOAD_RATE = 1 << 20


class Placed(NamedTuple):
    """A program, and the tier in which it stops (0 first)."""

    tier: int
    program: Program


TIERS = {
    "shop/loadgen": 0,
    "monitoring/scraper": 0,
    "batch/prober": 0,
    "kube-system/agent": 1,
    "shop/web": 2,
    "shop/api": 3,
}
LAST_TIER = 4


def plan_traffic(cluster: Cluster) -> tuple[Placed, ...]:
    """All programs that run from the start of traffic to its end."""
    placed = []
    for workload, tasks in _tasks_of(cluster).items():
        tier = TIERS.get(workload, LAST_TIER)
        placed += [Placed(tier, to_program(pod, tasks)) for pod in cluster.pods_of(workload)]
    placed += [Placed(0, _kubelet(node, cluster)) for node in cluster.nodes]
    outside = (Serve(OUTSIDE_PORT, 0.02), *_from_outside(cluster))
    path = outside_path(cluster.lab_id)
    return (*placed, Placed(1, Program("outside", str(path), str(ledger_path(cluster.lab_id, "outside")), outside)))


def ledger_path(lab_id: str, name: str) -> Path:
    """File of a program's ledger."""
    return STATE / lab_id / "ledger" / f"{name.replace('/', '_')}.json"


def to_program(pod: Pod, tasks: tuple[Task, ...]) -> Program:
    """The program of a pod."""
    path = ledger_path(pod.node.lab_id, pod.full_name)
    return Program(pod.full_name, str(pod.netns_path), str(path), tasks)


def ticket_tasks(cluster: Cluster) -> tuple[Task, ...]:
    """What a pod that lives two seconds does."""
    return tuple(Call(_service(cluster, "shop/api", family=family), 0.2, count=10) for family in (0, 1))


def upload_tasks(cluster: Cluster) -> tuple[Task, ...]:
    """What the bulk upload does."""
    targets = [_service(cluster, "data/store", family=family) for family in (0, 1)]
    return tuple(Upload(target, UPLOAD_BYTES, UPLOAD_RATE) for target in targets)


def _service(cluster: Cluster, name: str, *, family: int = 0) -> Target:
    service = cluster.service(name)
    return Target(service.addresses[family], service.port.number)


def _pod(pod: Pod, port: int, *, family: int = 0) -> Target:
    return Target(pod.addresses[family], port, pod.full_name)


def _tasks_of(cluster: Cluster) -> dict[str, tuple[Task, ...]]:
    return {
        "shop/web": (Serve(HTTP.number, 0.005, _service(cluster, "shop/api")),),
        "shop/api": (Serve(HTTP.number, 0.003, _service(cluster, "data/db")),),
        "data/db": (Serve(DATABASE.number, 0.002),),
        "data/store": (Serve(STORE.number, 0.0), Echo(ECHO.number)),
        "data/sink": (Hoard(SINK.number),),
        "kube-system/dns": (ServeNames(DNS.number, _names(cluster)),),
        "kube-system/agent": (
            Serve(AGENT.number, 0.001),
            Call(_service(cluster, "data/store"), 2.0),
            *_asking(cluster),
        ),
        "shop/loadgen": _load(cluster),
        "monitoring/scraper": _scraping(cluster),
        "batch/prober": _probing(cluster),
    }


def _names(cluster: Cluster) -> dict[str, list[str]]:
    return {f"{found.name}.{found.namespace}.{DOMAIN}": list(found.addresses) for found in cluster.services}


def _asking(cluster: Cluster) -> tuple[Task, ...]:
    names = [*_names(cluster), f"nobody.shop.{DOMAIN}"]
    return tuple(Ask(_service(cluster, "kube-system/dns", family=family), names, 1.0) for family in (0, 1))


def _load(cluster: Cluster) -> tuple[Task, ...]:
    sink = _pod(cluster.pods_of("data/sink")[0], SINK.number)
    calls = (Call(_service(cluster, "shop/web", family=0), 0.15), Call(_service(cluster, "shop/web", family=1), 0.3))
    return (*calls, Send(sink, 0.05, 400), *_asking(cluster))


def _scraping(cluster: Cluster) -> tuple[Task, ...]:
    agents = cluster.pods_of("kube-system/agent")
    targets = [_pod(pod, AGENT.number, family=family) for pod in agents for family in (0, 1)]
    return tuple(Call(target, 2.0, body=50, wished=8000) for target in targets)


def _probing(cluster: Cluster) -> tuple[Task, ...]:
    store, database, sink = (cluster.pods_of(name)[0] for name in ("data/store", "data/db", "data/sink"))
    both = [
        (
            Dial(_pod(store, CLOSED_PORT, family=family), 1.0),
            Dial(_pod(database, BLACK_HOLE_PORT, family=family), 1.0),
            Ping(_pod(store, 0, family=family), 1.0),
            Call(_pod(store, STORE.number, family=family), 1.0, exchanges_per_connection=4),
            Send(_pod(store, ECHO.number, family=family), 0.5, wants_echo=True),
            Send(_pod(sink, FORBIDDEN.number, family=family), 0.5),
            Call(Target(OUTSIDE[family], OUTSIDE_PORT, "outside"), 0.5),
        )
        for family in (0, 1)
    ]
    return tuple(chain.from_iterable(both))


def _kubelet(node: Node, cluster: Cluster) -> Program:
    name = f"node/{node.name}"
    probes = tuple(
        Call(_pod(pod, port.number), 3.0, body=0, wished=2, exchanges_per_connection=1)
        for pod in cluster.pods
        if pod.node == node and not pod.host_network
        for port in pod.workload.ports
        if port.protocol == "TCP"
    )
    return Program(name, str(node.netns_path), str(ledger_path(cluster.lab_id, name)), probes)


def _from_outside(cluster: Cluster) -> tuple[Task, ...]:
    web, api = cluster.service("shop/web"), cluster.service("shop/api")
    first, second, third = cluster.nodes
    doors = ((first, 0, web), (second, 1, web), (third, 0, api), (third, 1, api))
    return tuple(Call(Target(node.addresses[family], door.node_port or 0), 0.5) for node, family, door in doors)
