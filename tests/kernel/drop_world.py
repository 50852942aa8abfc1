"""Two network namespaces on one cable to senders and receivers in them, and what is in the way of their packets."""

import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from collector.namespace import run_inside

SIOCGIFHWADDR = 0x8927
NEAR_V4, FAR_V4, BEYOND_V4, NOWHERE_V4 = "10.99.0.1", "10.99.0.2", "10.99.1.9", "10.98.0.1"
NEAR_V6, FAR_V6, BEYOND_V6, NOWHERE_V6 = "fd99::1", "fd99::2", "fd99:1::9", "fd98::1"
DEVICE = "cable"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace of this test."""

    name: str

    @property
    def path(self) -> Path:
        """Where it can be entered."""
        return Path("/run/netns") / self.name

    @property
    def inode(self) -> int:
        """What the kernel calls it."""
        return self.path.stat().st_ino

    def run(self, *command: str, text: str | None = None) -> str:
        """Run a command in it; give what it printed."""
        inside = ("nsenter", f"--net={self.path}", *command)
        return subprocess.run(inside, check=True, capture_output=True, text=True, input=text).stdout

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Open a socket that stays in it."""
        return run_inside(self.path, lambda: socket.socket(family, kind, protocol))

    def mac(self, device: str = DEVICE) -> bytes:
        """Hardware address of a device in it."""
        with self.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            answer = fcntl.ioctl(asking, SIOCGIFHWADDR, struct.pack("256s", device.encode()))
        return answer[18:24]

    def device_index(self, device: str = DEVICE) -> int:
        """Interface index of a device in it."""
        return run_inside(self.path, lambda: socket.if_nametoindex(device))

    @contextmanager
    def rules(self, text: str) -> Iterator[None]:
        """Have nft rules for a while."""
        self.run("nft", "-f", "-", text=text)
        try:
            yield
        finally:
            self.run("nft", "flush", "ruleset")


class World(NamedTuple):
    """`near` sends, `far` receives and forwards; both know each other's hardware address, so nobody asks for it."""

    near: Namespace
    far: Namespace


@contextmanager
def world(label: str, *, has_ipv6: bool = True) -> Iterator[World]:
    """Two namespaces on a veth pair, removed whatever happens.

    With IPv6 each kernel announces its multicast groups now and then; the other one drops that. Without, it is quiet.
    """
    prefix = f"kd{label}{os.getpid()}"
    near, far = Namespace(f"{prefix}n"), Namespace(f"{prefix}f")
    try:
        for namespace in (near, far):
            subprocess.run(["ip", "netns", "add", namespace.name], check=True)
            namespace.run("sysctl", "-qw", f"net.ipv6.conf.default.disable_ipv6={int(not has_ipv6)}")
            namespace.run("ip", "link", "set", "lo", "up")
        near.run("ip", "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", far.name)
        for namespace, peer, address in ((near, far, NEAR_V4), (far, near, FAR_V4)):
            namespace.run("ip", "link", "set", DEVICE, "addrgenmode", "none", "up")
            namespace.run("ip", "address", "add", f"{address}/24", "dev", DEVICE)
            _introduce(namespace, (NEAR_V4, FAR_V4, BEYOND_V4), peer.mac())
        near.run("ip", "route", "add", "default", "via", FAR_V4)
        far.run("ip", "route", "add", f"{BEYOND_V4}/32", "dev", DEVICE)
        far.run("sysctl", "-qw", "net.ipv4.ip_forward=1", f"net.ipv4.conf.{DEVICE}.send_redirects=0")
        far.run("sysctl", "-qw", "net.ipv4.conf.all.send_redirects=0")
        if has_ipv6:
            _configure_ipv6(near, far)
        yield World(near, far)
    finally:
        for namespace in (near, far):
            subprocess.run(["ip", "netns", "del", namespace.name], check=False, capture_output=True)


def _configure_ipv6(near: Namespace, far: Namespace) -> None:
    for namespace, peer, address in ((near, far, NEAR_V6), (far, near, FAR_V6)):
        namespace.run("ip", "address", "add", f"{address}/64", "dev", DEVICE, "nodad")
        _introduce(namespace, (NEAR_V6, FAR_V6, BEYOND_V6), peer.mac())
    near.run("ip", "-6", "route", "add", "default", "via", FAR_V6)
    far.run("ip", "-6", "route", "add", f"{BEYOND_V6}/128", "dev", DEVICE)
    far.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")


def _introduce(namespace: Namespace, addresses: tuple[str, ...], mac: bytes) -> None:
    for address in addresses:
        namespace.run("ip", "neigh", "replace", address, "lladdr", mac.hex(":"), "dev", DEVICE, "nud", "permanent")
