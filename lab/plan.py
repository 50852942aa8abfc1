"""A lab id to the cluster it stands for: nodes, workloads, pods and services with all their names and addresses.

Everything here is arithmetic: the same lab id gives the same plan. Addresses are those of a cluster with the usual
defaults: nodes in 172.18.0.0/24, pods of node N in 10.244.N.0/24, services in 10.96.0.0/16, and their IPv6 twins.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

STATE = Path("/run/kubenetinsight-lab")
NAMED = Path("/run/netns")
CLUSTER_RANGES = ("10.244.0.0/16", "fd00:10:244::/48")
SERVICE_RANGES = ("10.96.0.0/16", "fd00:10:96::/112")
GATEWAY = ("172.18.0.1", "fd00:172:18::1")
OUTSIDE = ("198.51.100.10", "2001:db8:100::10")
SAFE = "bcdfghjklmnpqrstvwxz2456789"
FIRST_POD = 2


@dataclass(frozen=True)
class Node:
    """One node: a network namespace with an uplink, and a range of pod addresses."""

    index: int
    lab_id: str

    @property
    def name(self) -> str:
        """Kubernetes' name of it."""
        return f"node-{self.index}"

    @property
    def netns(self) -> str:
        """Name of its network namespace, as `ip netns` lists it."""
        return f"kni-{self.lab_id}-{self.name}"

    @property
    def netns_path(self) -> Path:
        """File bound to its network namespace."""
        return NAMED / self.netns

    @property
    def netns_dir(self) -> Path:
        """Directory with the files bound to its pods' network namespaces."""
        return STATE / self.lab_id / self.name / "netns"

    @property
    def uplink(self) -> str:
        """Its interface to the other nodes and the outside."""
        return "eth0"

    @property
    def zone(self) -> str:
        """Its topology zone."""
        return f"lab-{'abc'[(self.index - 1) % 3]}"

    @property
    def addresses(self) -> tuple[str, str]:
        """IPv4 and IPv6 address of the uplink."""
        return f"172.18.0.{10 + self.index}", f"fd00:172:18::{10 + self.index}"

    @property
    def gateways(self) -> tuple[str, str]:
        """What its pods have as next hop: an address on the node's side of each pod's veth."""
        return f"10.244.{self.index}.1", f"fd00:10:244:{self.index}::1"

    @property
    def tunnels(self) -> tuple[str, str]:
        """Addresses of its two VXLAN devices."""
        return f"10.244.{self.index}.0", f"fd00:10:244:{self.index}::"

    @property
    def pod_ranges(self) -> tuple[str, str]:
        """Its share of the cluster's pod addresses."""
        return f"10.244.{self.index}.0/24", f"fd00:10:244:{self.index}::/64"

    def pod_addresses(self, host: int) -> tuple[str, str]:
        """IPv4 and IPv6 address of its pod number `host` (from FIRST_POD on)."""
        return f"10.244.{self.index}.{host}", f"fd00:10:244:{self.index}::{host:x}"


@dataclass(frozen=True)
class Port:
    """A port that a workload listens on, with the protocol in Kubernetes' spelling (TCP or UDP)."""

    name: str
    number: int
    protocol: str = "TCP"


@dataclass(frozen=True)
class Workload:
    """What the user of a cluster deploys: one pod on each of the nodes (by index)."""

    namespace: str
    name: str
    kind: str
    nodes: tuple[int, ...]
    ports: tuple[Port, ...] = ()
    host_network: bool = False

    @property
    def template_hash(self) -> str:
        """The hash that a Deployment's ReplicaSet carries in its name."""
        return to_letters(f"{self.namespace}/{self.name}", 10)


@dataclass(frozen=True)
class Pod:
    """One pod: where it runs, how it is reached, and the interface its node sees it through."""

    namespace: str
    name: str
    workload: Workload
    node: Node
    addresses: tuple[str, str]

    @property
    def full_name(self) -> str:
        """Namespace and name, as the lab's ledgers call it."""
        return f"{self.namespace}/{self.name}"

    @property
    def host_network(self) -> bool:
        """Whether it shares its node's network namespace and addresses."""
        return self.workload.host_network

    @property
    def netns_path(self) -> Path:
        """File bound to its network namespace."""
        return self.node.netns_path if self.host_network else self.node.netns_dir / f"{self.namespace}_{self.name}"

    @property
    def interface(self) -> str:
        """Host side of its veth; for a hostNetwork pod the node's uplink."""
        digest = hashlib.sha1(self.full_name.encode(), usedforsecurity=False).hexdigest()
        return self.node.uplink if self.host_network else f"veth{digest[:8]}"


@dataclass(frozen=True)
class Service:
    """A stable address in front of a workload's pods.

    A service with a node port and `is_local` keeps the client's address and serves only from the node's own pods
    (externalTrafficPolicy: Local); without, the node masquerades the client.
    """

    namespace: str
    name: str
    host: int
    port: Port
    target_port: int
    node_port: int | None = None
    is_local: bool = False

    @property
    def full_name(self) -> str:
        """Namespace and name."""
        return f"{self.namespace}/{self.name}"

    @property
    def addresses(self) -> tuple[str, str]:
        """Its cluster addresses."""
        return f"10.96.0.{self.host}", f"fd00:10:96::{self.host}"


def to_letters(text: str, length: int) -> str:
    """A stable suffix made of the letters that Kubernetes uses for generated names."""
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(SAFE[byte % len(SAFE)] for byte in digest[:length])


def check_lab_id(lab_id: str) -> None:
    """Raise LabError unless `lab_id` is fit for file and namespace names."""
    if re.fullmatch(r"[a-z0-9]{1,16}", lab_id) is None:
        raise LabError(f"'{lab_id}' is no lab id: use 1 to 16 lower-case letters and digits")


def to_pod_name(workload: Workload, ordinal: int) -> str:
    """The name that Kubernetes' controllers would give pod number `ordinal` (from 0) of a workload."""
    suffix = to_letters(f"{workload.namespace}/{workload.name}/{ordinal}", 5)
    if workload.kind == "StatefulSet":
        return f"{workload.name}-{ordinal}"
    if workload.kind == "Deployment":
        return f"{workload.name}-{workload.template_hash}-{suffix}"
    return f"{workload.name}-{suffix}"
