"""Lab to the system that watches it: one collector per node, and an aggregator that asks the lab's API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.plan import SERVICE_RANGES
from standalone.system import Collector, Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lab.world import World
    from standalone.settings import Settings

PINS = "/run/kubenetinsight/bpf-{lab}"


def collectors_of(world: World, listens: Sequence[str]) -> tuple[Collector, ...]:
    """One collector per node of the lab; `listens` has an address for each.

    A lab node's uplink is a veth that stands for a network card, so it is watched by native XDP.
    """
    return tuple(
        Collector(
            node.name,
            listen,
            {
                "KNI_NODE": node.name,
                "KNI_NETNS": str(node.netns_path),
                "KNI_NETNS_DIR": str(node.netns_dir),
                "KNI_UPLINKS": f"{node.uplink}=xdp",
                "KNI_BPFFS": PINS.format(lab=world.lab_id),
            },
        )
        for node, listen in zip(world.nodes, listens, strict=True)
    )


def wanted_for(world: World, settings: Settings, *, listens: Sequence[str], logs: Path) -> Wanted:
    """The whole system for a lab."""
    aggregator = {
        "KNI_KUBERNETES": "kubeconfig",
        "KUBECONFIG": str(world.kubeconfig),
        "KNI_SERVICE_CIDRS": ",".join(SERVICE_RANGES),
    }
    return Wanted(settings, collectors_of(world, listens), aggregator, logs)
