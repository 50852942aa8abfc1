"""A lab id to a running world: nodes, pods and services in network namespaces, their Kubernetes API, and traffic.

A world is a context manager: what it made is gone when the context ends, and what a killed process left behind is
removed by the next world that starts, whatever its id.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from lab import claims, firewall, network
from lab.capture import capture
from lab.cluster import plan_cluster
from lab.commands import check_requirements, in_namespace
from lab.crew import Crew
from lab.jobs import Jobs
from lab.offloads import set_offloads
from lab.plan import STATE, check_lab_id
from lab.programs import ledger as ledgers
from lab.registry import Registry
from lab.traffic import Placed, plan_traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.plan import Node, Pod, Service
    from lab.programs.ledger import Entry

COMMAND_SECONDS = 30.0


class World:
    """One lab. Two with different ids can run at once; addresses are the same in each, namespaces apart.

    Attributes:
        nodes: the nodes; each has name, netns, netns_path, netns_dir, uplink, addresses, zone, pod_ranges.
        services: the services; each has namespace, name, addresses, port, node_port.
        jobs: the pods that come and go; `jobs.ended` are those that are gone.
        kubeconfig: path of a kubeconfig file for the world's API server.
        registry: the API's objects; `registry.server.compact()` makes older versions Gone.
    """

    def __init__(self, lab_id: str, clock: Callable[[], float]) -> None:
        check_lab_id(lab_id)
        self.lab_id = lab_id
        self._cluster = plan_cluster(lab_id)
        self._stack = ExitStack()
        self._placed: tuple[Placed, ...] = ()
        self.nodes: tuple[Node, ...] = self._cluster.nodes
        self.services: tuple[Service, ...] = self._cluster.services
        self.state = STATE / lab_id
        self.kubeconfig: Path = self.state / "kubeconfig"
        self.registry = Registry(self._cluster, clock)

    def __enter__(self) -> Self:
        """Build everything; traffic waits for start_traffic().

        Raises:
            LabError: not root, a program or a part of the kernel is missing, or the id is in use.
        """
        check_requirements()
        with ExitStack() as stack:
            claims.claim(self.lab_id)
            stack.callback(claims.release, self.lab_id)
            (self.state / "ledger").mkdir()
            network.build(self._cluster)
            self.registry.populate()
            stack.enter_context(self.registry.server.serving())
            self.registry.write_kubeconfig(self.kubeconfig)
            self.crew = Crew(self.state / "programs.log")
            stack.callback(self.crew.close)
            self.jobs = Jobs(self._cluster, self.registry, crew=self.crew)
            stack.callback(self.jobs.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End the programs and remove all that was made."""
        self._stack.close()

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The pods that are there now; each has namespace, name, workload, node, addresses, netns_path, interface."""
        return (*self._cluster.pods, *self.jobs.pods)

    def node(self, name: str) -> Node:
        """The node of that name."""
        return next(node for node in self.nodes if node.name == name)

    def pods_of(self, workload: str) -> tuple[Pod, ...]:
        """The lasting pods of the workload "namespace/name"."""
        return self._cluster.pods_of(workload)

    def service(self, name: str) -> Service:
        """The service "namespace/name"."""
        return self._cluster.service(name)

    def namespace_of(self, place: str) -> Path:
        """File bound to the network namespace of a node ("node-1"), a pod ("shop/web-…"), "underlay" or "outside"."""
        around = {"underlay": network.underlay_path(self.lab_id), "outside": network.outside_path(self.lab_id)}
        known = around | {node.name: node.netns_path for node in self.nodes}
        return (known | {pod.full_name: pod.netns_path for pod in self.pods})[place]

    def run(self, place: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a place (see namespace_of) and return what it said, whatever its status."""
        line = in_namespace(self.namespace_of(place), *command)
        return subprocess.run(line, text=True, capture_output=True, check=False, timeout=COMMAND_SECONDS)

    def start_traffic(self) -> None:
        """Start the programs of all pods, servers first; a bulk upload, and pods that live two seconds come and go.

        Raises:
            LabError: a program failed to start.
        """
        self._placed = plan_traffic(self._cluster)
        for tier in sorted({placed.tier for placed in self._placed}, reverse=True):
            self.crew.start(placed.program for placed in self._placed if placed.tier == tier)
        self.jobs.start()

    def stop_traffic(self) -> None:
        """Have all programs finish what they do, clients first, and write their ledgers.

        Raises:
            LabError: one did not end, or failed.
        """
        self.jobs.stop()
        for tier in sorted({placed.tier for placed in self._placed}):
            self.crew.stop(placed.program.me for placed in self._placed if placed.tier == tier)
        self._placed = ()

    def ledger(self) -> list[Entry]:
        """What the programs say they sent and received since the world began.

        At most a second old while they run, exact once they are stopped.
        """
        return [entry for path in sorted((self.state / "ledger").glob("*.json")) for entry in ledgers.read(path)]

    @contextmanager
    def capture(self, place: str, interface: str, *, file: Path, snap_length: int = 262144) -> Iterator[Path]:
        """Capture an interface of a place (see namespace_of) with tcpdump while the context lasts.

        Raises:
            LabError: tcpdump cannot start, or packets were missed.
        """
        with capture(self.namespace_of(place), interface, file=file, snap_length=snap_length) as written:
            yield written

    def offloads(self, *, on: bool) -> None:
        """Switch segmentation and receive offload on or off wherever packets start, end or are merged.

        A program attached by native XDP switches receive offload on for its veth: call this after attaching.
        """
        ends = [(self.namespace_of("outside"), "eth0")]
        ends += [(node.netns_path, device) for node in self.nodes for device in (node.uplink, *network.TUNNELS)]
        for pod in self.pods:
            if not pod.host_network:
                ends += [(pod.netns_path, "eth0"), (pod.node.netns_path, pod.interface)]
        for path, device in ends:
            set_offloads(path, device, on=on)

    def policy_drops(self) -> dict[tuple[str, str], int]:
        """Packets that each node's firewall has dropped, by node and by the rule's name (FORBIDDEN, BLACK_HOLE)."""
        return {
            (node.name, name): packets
            for node in self.nodes
            for name, packets in firewall.read_counters(node.netns_path).items()
        }
