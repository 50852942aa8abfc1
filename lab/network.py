"""A planned cluster to its interfaces: namespaces, veths, the underlay, the overlay and routes.

The pod network is routed, as kind's is: no bridge, each pod's veth ends in its node's namespace, where the gateway's
address is on every one of them and a /32 route leads to the pod. So the node's firewall sees every packet, also between
two pods of one node; behind a bridge, answers of a service on the same node would pass by its NAT.

Between nodes run two VXLAN devices as flannel's: IPv4 pods over IPv4 nodes, IPv6 pods over IPv6 nodes, without
learning, each neighbour written down. Nodes and the outside host are ports of one bridge in a namespace of
its own, the underlay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import firewall
from lab.commands import configure, feed
from lab.namespaces import create
from lab.plan import GATEWAY, NAMED, OUTSIDE, Node, Pod

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.cluster import Cluster

TUNNELS = ("flannel.1", "flannel-v6.1")
VXLAN_PORT = 4789
UPLINK_MTU = 1500
POD_MTU = 1430  # what IPv6 and VXLAN leave of 1500
BRIDGE = "underlay"

HOST = {
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/ping_group_range": "0 0",
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/default/accept_ra": "0",
}
ROUTER = HOST | {"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv6/conf/default/forwarding": "1"}


def underlay_path(lab_id: str) -> Path:
    """File bound to the namespace that stands for the wires between the nodes."""
    return NAMED / f"kni-{lab_id}-underlay"


def outside_path(lab_id: str) -> Path:
    """File bound to the namespace of the outside host, which is also the nodes' default gateway."""
    return NAMED / f"kni-{lab_id}-outside"


def _address(address: str, device: str) -> str:
    # Without nodad an IPv6 address is tentative for a moment, and a route's source must be a valid address.
    return f"address add {address} dev {device}{' nodad' if ':' in address else ''}"


def _to_mac(node: Node, family: int) -> str:
    return f"0a:58:0a:f4:{family:02x}:{node.index:02x}"


def build(cluster: Cluster) -> None:
    """Make all namespaces, interfaces, routes and rules of a cluster.

    Raises:
        LabError: the machine cannot; what exists until then is left for the caller to remove.
    """
    underlay, outside = underlay_path(cluster.lab_id), outside_path(cluster.lab_id)
    create(underlay, HOST)
    create(outside, ROUTER)
    for node in cluster.nodes:
        node.netns_dir.mkdir(parents=True)
        create(node.netns_path, ROUTER)
    configure(underlay, _underlay_lines(cluster, outside))
    configure(outside, _outside_lines(cluster))
    pods = [pod for pod in cluster.pods if not pod.host_network]
    for pod in pods:
        create(pod.netns_path, HOST)
    for node in cluster.nodes:
        mine = [pod for pod in pods if pod.node == node]
        lines = [line for pod in mine for line in _pod_host_lines(pod)]
        configure(node.netns_path, [*_node_lines(node, cluster.nodes), *lines])
        feed(node.netns_path, ("bridge", "-batch", "-"), lines=_neighbour_lines(node, cluster.nodes))
        feed(node.netns_path, ("nft", "-f", "-"), lines=firewall.render(node, cluster))
    for pod in pods:
        configure(pod.netns_path, _pod_lines(pod))


def add_pod(pod: Pod) -> None:
    """Connect one more pod to its node."""
    create(pod.netns_path, HOST)
    configure(pod.node.netns_path, _pod_host_lines(pod))
    configure(pod.netns_path, _pod_lines(pod))


def _underlay_lines(cluster: Cluster, outside: Path) -> Iterator[str]:
    yield f"link add {BRIDGE} type bridge stp_state 0 mcast_snooping 0 forward_delay 0"
    yield f"link set {BRIDGE} up"
    ends = [(node.name, node.netns_path) for node in cluster.nodes] + [("outside", outside)]
    for name, path in ends:
        yield f"link add {name} mtu {UPLINK_MTU} type veth peer name eth0 mtu {UPLINK_MTU} netns {path}"
        yield f"link set {name} master {BRIDGE} up"


def _outside_lines(cluster: Cluster) -> Iterator[str]:
    yield "link set lo up"
    yield "link set eth0 up"
    yield from (_address(address, "eth0") for address in (*GATEWAY, *OUTSIDE))
    for index, prefix in enumerate(("172.18.0.0/24", "fd00:172:18::/64")):
        yield f"route add {prefix} dev eth0 src {OUTSIDE[index]}"
    for node in cluster.nodes:
        yield from (f"route add unreachable {prefix} metric {node.index}" for prefix in node.pod_ranges)


def _node_lines(node: Node, nodes: tuple[Node, ...]) -> Iterator[str]:
    yield "link set lo up"
    yield "link set eth0 up"
    yield _address(f"{node.addresses[0]}/24", "eth0")
    yield _address(f"{node.addresses[1]}/64", "eth0")
    yield from (f"route add default via {gateway} dev eth0" for gateway in GATEWAY)
    yield from (f"route add blackhole {prefix}" for prefix in node.pod_ranges)
    for family, device in enumerate(TUNNELS):
        yield (
            f"link add {device} address {_to_mac(node, family)} mtu {(1450, POD_MTU)[family]} type vxlan id 1 "
            f"local {node.addresses[family]} dev eth0 dstport {VXLAN_PORT} nolearning"
        )
        yield _address(node.tunnels[family], device)
        yield f"link set {device} up"
        for other in nodes:
            if other != node:
                tunnel, source = other.tunnels[family], node.tunnels[family]
                yield f"neighbor add {tunnel} lladdr {_to_mac(other, family)} dev {device} nud permanent"
                yield f"route add {other.pod_ranges[family]} via {tunnel} dev {device} onlink src {source}"


def _neighbour_lines(node: Node, nodes: tuple[Node, ...]) -> Iterator[str]:
    for family, device in enumerate(TUNNELS):
        for other in nodes:
            if other != node:
                yield f"fdb add {_to_mac(other, family)} dev {device} dst {other.addresses[family]} self permanent"


def _pod_host_lines(pod: Pod) -> Iterator[str]:
    yield (f"link add {pod.interface} mtu {POD_MTU} type veth peer name eth0 mtu {POD_MTU} netns {pod.netns_path}")
    yield from (_address(gateway, pod.interface) for gateway in pod.node.gateways)
    yield f"link set {pod.interface} up"
    for address, gateway in zip(pod.addresses, pod.node.gateways, strict=True):
        yield f"route add {address} dev {pod.interface} src {gateway}"


def _pod_lines(pod: Pod) -> Iterator[str]:
    yield "link set lo up"
    yield "link set eth0 up"
    for address, gateway in zip(pod.addresses, pod.node.gateways, strict=True):
        yield _address(address, "eth0")
        yield f"route add {gateway} dev eth0 src {address}"
        yield f"route add default via {gateway} dev eth0 src {address}"
