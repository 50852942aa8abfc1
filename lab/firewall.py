"""A node's services and policies to nftables rules: what kube-proxy and a network plugin would write.

Everything stands in one table. A service's address is replaced by a random endpoint's, for packets of pods (prerouting)
and of the node itself (output). Who is masqueraded: pods that talk to anything but pods, the node that talks over the
overlay, a pod that reaches itself through a service, and clients of a node port without externalTrafficPolicy: Local.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lab.cluster import BLACK_HOLE_PORT, FORBIDDEN
from lab.commands import ask
from lab.plan import CLUSTER_RANGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lab.cluster import Cluster
    from lab.plan import Node, Pod, Service

FAMILIES = ("ip", "ip6")
BLACK_HOLE = "black-hole"
MASQUERADE_MARK = "0x4000"


def render(node: Node, cluster: Cluster) -> Iterator[str]:
    """Lines for `nft -f`: the node's whole ruleset."""
    yield "table inet lab {"
    yield f"counter {FORBIDDEN.name} {{ }}"
    yield f"counter {BLACK_HOLE} {{ }}"
    for hook in ("prerouting", "output"):
        yield f"chain {hook} {{"
        yield f"type nat hook {hook} priority -100"
        yield "jump services"
        yield "}"
    yield "chain services {"
    for service in cluster.services:
        yield from _service_rules(service, cluster.endpoints(service), node=node)
    yield "}"
    yield "chain postrouting {"
    yield "type nat hook postrouting priority srcnat"
    yield from _masquerade_rules(node, cluster)
    yield "}"
    yield "chain policies {"
    yield "type filter hook forward priority filter"
    yield f"udp dport {FORBIDDEN.number} counter name {FORBIDDEN.name} drop"
    yield f'iifname "flannel*" tcp dport {BLACK_HOLE_PORT} counter name {BLACK_HOLE} drop'
    yield "}"
    yield "}"


def read_counters(namespace: Path) -> dict[str, int]:
    """Packets that a node's policies have dropped, by the rule's name."""
    listing = json.loads(ask(namespace, "nft", "-j", "list", "counters"))
    found = [item["counter"] for item in listing["nftables"] if "counter" in item]
    return {str(counter["name"]): int(counter["packets"]) for counter in found}


def _service_rules(service: Service, endpoints: Sequence[Pod], *, node: Node) -> Iterator[str]:
    protocol = service.port.protocol.lower()
    for family, word in enumerate(FAMILIES):
        target = _to_endpoint(endpoints, service.target_port, family=family)
        yield f"{word} daddr {service.addresses[family]} {protocol} dport {service.port.number} {target}"
        if service.node_port is None:
            continue
        arriving = f"{word} daddr {node.addresses[family]} {protocol} dport {service.node_port}"
        if not service.is_local:
            yield f"{arriving} meta mark set {MASQUERADE_MARK} {target}"
        elif local := [pod for pod in endpoints if pod.node == node]:
            yield f"{arriving} {_to_endpoint(local, service.target_port, family=family)}"


def _to_endpoint(endpoints: Sequence[Pod], port: int, *, family: int) -> str:
    choices = ", ".join(f"{index} : {pod.addresses[family]} . {port}" for index, pod in enumerate(endpoints))
    return f"dnat {FAMILIES[family]} to numgen random mod {len(endpoints)} map {{ {choices} }}"


def _masquerade_rules(node: Node, cluster: Cluster) -> Iterator[str]:
    yield f"meta mark {MASQUERADE_MARK} masquerade"
    for family, (word, cluster_range) in enumerate(zip(FAMILIES, CLUSTER_RANGES, strict=True)):
        yield f'oifname "flannel*" {word} saddr {node.addresses[family]} masquerade'
        yield f'oifname "eth0" {word} saddr {cluster_range} {word} daddr != {cluster_range} masquerade'
        for pod in cluster.pods:
            if pod.node == node and not pod.host_network:
                address = pod.addresses[family]
                yield f"{word} saddr {address} {word} daddr {address} masquerade"
