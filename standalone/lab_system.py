"""Lab to the system that watches it: one collector per node, and an aggregator that asks the lab's API server."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lab.plan import SERVICE_RANGES
from standalone.system import Collector, System, Wanted, running_system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lab.world import World
    from standalone.settings import Settings


@contextmanager
def watched_lab(
    world: World,
    settings: Settings,
    *,
    listens: Sequence[str],
    logs: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[System]:
    """The system, ready, with one collector per node of the lab; `listens` has a free address for each.

    Raises:
        ChildError: as `running_system`.
    """
    pins = pins_of(world.lab_id)
    remove_pins(pins)
    aggregator = {
        "KNI_KUBERNETES": "kubeconfig",
        "KUBECONFIG": str(world.kubeconfig),
        "KNI_SERVICE_CIDRS": ",".join(SERVICE_RANGES),
    }
    wanted = Wanted(settings, collectors_of(world, listens), aggregator, logs)
    try:
        with running_system(wanted, tell=tell) as system:
            yield system
    finally:
        remove_pins(pins)


def collectors_of(world: World, listens: Sequence[str]) -> tuple[Collector, ...]:
    """One collector per node of the lab.

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
                "KNI_BPFFS": str(pins_of(world.lab_id)),
            },
        )
        for node, listen in zip(world.nodes, listens, strict=True)
    )


def pins_of(lab_id: str) -> Path:
    """Where the collectors of a lab keep their pins."""
    return Path(f"/run/kubenetinsight/bpf-{lab_id}")


def remove_pins(pins: Path) -> None:
    """Forget the tables of a lab's collectors: its nodes are gone, or new ones of the same names are about to come.

    Collectors that stopped by themselves left nothing; those that were killed left what they had not sent.
    """
    if pins.is_mount():
        subprocess.run(["umount", str(pins)], check=True)
    if pins.is_dir():
        pins.rmdir()
