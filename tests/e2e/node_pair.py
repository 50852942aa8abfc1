"""Names to two nodes of one pod each, in network namespaces: a cable between the nodes, and a tunnel through it.

    pod eth0 ── v0 node u0 ════ u0 node v0 ── eth0 pod        10.77.N.2, fd77:N::2   routed
                    t0 ∙∙∙∙∙∙∙∙ t0                            10.78.N.2, fd78:N::2   through VXLAN

Links are made down, and `connect` brings them up with addresses and routes. So a collector that starts in between is at
its hooks from an interface's first frame on, and must have seen what the kernel's own statistics of it say.
What is sent to `NOWHERE` passes both nodes and is never answered.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.commands import ask, configure, feed
from lab.namespaces import create, remove

NOWHERE = "10.79.0.1"
TUNNEL_MTU = 1450
SYSCTLS = {
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    "ipv6/conf/default/accept_dad": "0",
    "ipv4/tcp_sack": "0",
}
"""Without selective acknowledgements all segments of an established connection have headers of one length."""


@dataclass(frozen=True)
class Node:
    """One node with its pod; `number` is 1 or 2."""

    number: int
    directory: Path

    @property
    def name(self) -> str:
        return f"kf-node-{self.number}"

    @property
    def other(self) -> int:
        return 3 - self.number

    @property
    def netns(self) -> Path:
        return self.directory / f"node-{self.number}"

    @property
    def netns_directory(self) -> Path:
        """Where the node's pods' namespaces have names."""
        return self.directory / f"pods-{self.number}"

    @property
    def pod(self) -> Path:
        return self.netns_directory / "pod"

    def connect(self) -> None:
        n, m = self.number, self.other
        configure(
            self.netns,
            [
                "link set lo up",
                "link set v0 up",
                "link set u0 up",
                *(f"address add 10.{net}.{n}.1/24 dev v0" for net in (77, 78)),
                *(f"address add fd{net}:{n}::1/64 dev v0 nodad" for net in (77, 78)),
                f"address add 10.77.100.{n}/24 dev u0",
                f"address add fd77:100::{n}/64 dev u0 nodad",
                f"link add t0 type vxlan id 42 local 10.77.100.{n} remote 10.77.100.{m} dstport 4789 dev u0",
                "link set t0 up",
                f"address add 10.78.100.{n}/24 dev t0",
                f"address add fd78:100::{n}/64 dev t0 nodad",
                *(f"route add 10.{net}.{m}.0/24 via 10.{net}.100.{m}" for net in (77, 78)),
                *(f"route add fd{net}:{m}::/64 via fd{net}:100::{m}" for net in (77, 78)),
                "route add blackhole 10.79.0.0/16" if n == 2 else "route add 10.79.0.0/16 via 10.77.100.2",
            ],
        )
        configure(
            self.pod,
            [
                "link set lo up",
                "link set eth0 up",
                *(f"address add 10.{net}.{n}.2/24 dev eth0" for net in (77, 78)),
                *(f"address add fd{net}:{n}::2/64 dev eth0 nodad" for net in (77, 78)),
                f"route add default via 10.77.{n}.1",
                f"route add default via fd77:{n}::1",
                f"route add 10.78.{m}.0/24 via 10.78.{n}.1 src 10.78.{n}.2 mtu {TUNNEL_MTU}",
                f"route add fd78:{m}::/64 via fd78:{n}::1 src fd78:{n}::2 mtu {TUNNEL_MTU}",
            ],
        )

    def disconnect(self) -> None:
        """No frame passes the hooks any more, not even the kernel's own."""
        configure(self.netns, ["link set v0 down", "link set u0 down"])

    def rules(self, text: str) -> None:
        """Load nft rules."""
        feed(self.netns, ("nft", "-f", "-"), lines=[text])

    def frames(self) -> dict[tuple[str, int], int]:
        """(interface, direction) to frames that passed, by the kernel's own statistics; direction 0 comes in."""
        counted = {}
        for interface in ("v0", "u0"):
            (link,) = json.loads(ask(self.netns, "ip", "-s", "-j", "link", "show", "dev", interface))
            received, sent = link["stats64"]["rx"], link["stats64"]["tx"]
            counted[interface, 0] = int(received["packets"])
            counted[interface, 1] = int(sent["packets"]) + int(sent["dropped"])
        return counted

    def mac(self, place: Path, interface: str) -> bytes:
        """Hardware address of an interface in one of the node's namespaces."""
        (link,) = json.loads(ask(place, "ip", "-j", "link", "show", "dev", interface))
        return bytes.fromhex(link["address"].replace(":", ""))


@contextmanager
def node_pair(directory: Path) -> Iterator[tuple[Node, Node]]:
    """Two nodes, not connected yet; gone at the end."""
    nodes = Node(1, directory), Node(2, directory)
    made: list[Path] = []
    try:
        for node in nodes:
            node.netns_directory.mkdir(parents=True)
            for path in (node.netns, node.pod):
                create(path, SYSCTLS)
                made.append(path)
            configure(node.netns, [f"link add v0 type veth peer name eth0 netns {node.pod}"])
        configure(nodes[0].netns, [f"link add u0 type veth peer name u0 netns {nodes[1].netns}"])
        yield nodes
    finally:
        for path in made:
            remove(path)
