"""The command line to a lab on the terminal: starts one, says what is where, keeps traffic running until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


LONGEST_SECONDS = 86_400


def render(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows, the first of them a heading, as lines with aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def describe(world: World) -> Iterator[str]:
    """The map of a world: nodes, pods, services, and how to look into it."""
    nodes = [(node.name, node.zone, *node.addresses, node.netns, str(node.netns_dir)) for node in world.nodes]
    yield from render([("NODE", "ZONE", "IPV4", "IPV6", "NAMESPACE", "NAMESPACES OF ITS PODS"), *nodes])
    yield ""
    pods = [
        (pod.namespace, pod.name, pod.workload.kind, pod.node.name, *pod.addresses, pod.interface) for pod in world.pods
    ]
    yield from render([("NAMESPACE", "POD", "OF", "NODE", "IPV4", "IPV6", "INTERFACE"), *pods])
    yield ""
    services = [
        (
            found.namespace,
            found.name,
            *found.addresses,
            f"{found.port.number}/{found.port.protocol}",
            str(found.node_port or ""),
        )
        for found in world.services
    ]
    yield from render([("NAMESPACE", "SERVICE", "IPV4", "IPV6", "PORT", "NODE PORT"), *services])
    yield ""
    yield f"Kubernetes API: KUBECONFIG={world.kubeconfig}"
    yield f"look around:    sudo ip netns exec {world.nodes[0].netns} tcpdump -ni {world.nodes[0].uplink}"


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no duration: write a number of seconds, at most {LONGEST_SECONDS}"
        )
    return seconds


def main(words: Sequence[str] | None = None) -> int:
    """Run a lab as the command line `words` says; the exit status."""
    parser = argparse.ArgumentParser(
        prog="kubenetinsight lab", description="A small cluster in network namespaces, with traffic, until Ctrl-C."
    )
    parser.add_argument("--id", default="lab", help="name of the lab: labs of different names can run at once")
    parser.add_argument("--duration", type=_seconds, metavar="SECONDS", help="stop by itself after that time")
    arguments = parser.parse_args(words)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    try:
        with World(arguments.id, time.time) as world:
            print("\n".join(describe(world)), flush=True)
            world.start_traffic()
            print(
                "traffic runs; Ctrl-C ends it and removes everything" if arguments.duration is None else "", flush=True
            )
            stopping.wait(arguments.duration)
            world.stop_traffic()
    except LabError as error:
        print(f"kubenetinsight lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
