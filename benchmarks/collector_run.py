"""A collector in a namespace of its own to what a benchmark needs of it: process, log, and an end without rest."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from standalone.servers import embedded_kafka


@dataclass(frozen=True)
class Running:
    """A collector that counts."""

    node: str
    """Also the name of its network namespace; the peer's ends in -peer."""
    process: subprocess.Popen[str]
    log: Path
    address: str
    """Of its doors, HOST:PORT."""

    @property
    def peer(self) -> str:
        """The network namespace at the other end of v0."""
        return f"{self.node}-peer"


@contextmanager
def running_collector(node: str, **settings: str) -> Iterator[Running]:
    """A collector with an embedded Kafka, in a namespace with the veth v0, 10.9.0.1, to a peer, 10.9.0.2."""
    with namespaces(node), embedded_kafka() as kafka, tempfile.TemporaryDirectory() as directory:
        environment = {
            **os.environ,
            "KNI_NODE": node,
            "KNI_NETNS": f"/run/netns/{node}",
            "KNI_NETNS_DIR": directory,
            "KNI_BPFFS": f"{directory}/bpf",
            "KNI_KAFKA": kafka,
            "KNI_COLLECTOR_LISTEN": "127.0.0.1:0",
            **settings,
        }
        log = Path(directory) / "log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "collector"], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        try:
            first = process.stdout.readline() if process.stdout is not None else ""
            if not first.startswith("ready"):
                raise RuntimeError(log.read_text())
            yield Running(node, process, log, first.split()[-1])
        finally:
            process.terminate()
            process.wait(timeout=30)


@contextmanager
def namespaces(node: str) -> Iterator[None]:
    """The node's network namespace, its peer's, and a veth between them."""
    peer = f"{node}-peer"
    run(f"ip netns add {node}")
    run(f"ip netns add {peer}")
    try:
        run(f"ip -n {node} link add v0 type veth peer name v0 netns {peer}")
        for name, address in ((node, "10.9.0.1"), (peer, "10.9.0.2")):
            run(f"ip -n {name} address add {address}/24 dev v0")
            run(f"ip -n {name} link set v0 up")
            run(f"ip -n {name} link set lo up")
        yield
    finally:
        run(f"ip netns del {node}")
        run(f"ip netns del {peer}")


def run(command: str) -> str:
    """Output of a program that must succeed."""
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout
