"""A test's name to veths in network namespaces of its own, gone when it ends."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def run(*arguments: str) -> str:
    """Output of a program that must succeed."""
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Veths:
    """A node's namespace with the host sides of veths, and a peer's namespace with their other ends."""

    node: str
    peer: str

    @property
    def path(self) -> Path:
        return Path("/run/netns") / self.node

    def add(self, name: str) -> int:
        """A veth `name` in the node, `name`p in the peer; its ifindex in the node."""
        run("ip", "-n", self.node, "link", "add", name, "type", "veth", "peer", "name", f"{name}p", "netns", self.peer)
        run("ip", "-n", self.node, "link", "set", name, "up")
        run("ip", "-n", self.peer, "link", "set", f"{name}p", "up")
        return self.ifindex(name)

    def ifindex(self, name: str) -> int:
        return int(self.inside("cat", f"/sys/class/net/{name}/ifindex"))

    def inside(self, *arguments: str) -> str:
        """Output of a program in the node's namespace."""
        return run("ip", "netns", "exec", self.node, *arguments)

    def from_peer(self, *arguments: str) -> str:
        """Output of a program in the peer's namespace."""
        return run("ip", "netns", "exec", self.peer, *arguments)


@contextmanager
def veths(prefix: str) -> Iterator[Veths]:
    """Two namespaces, `prefix`-node and `prefix`-peer."""
    made = Veths(f"{prefix}-node", f"{prefix}-peer")
    for name in (made.node, made.peer):
        run("ip", "netns", "add", name)
    try:
        yield made
    finally:
        for name in (made.node, made.peer):
            run("ip", "netns", "del", name)
