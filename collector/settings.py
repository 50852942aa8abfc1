"""Environment to settings: what the collector is told, checked once at the start.

Every setting has a default that fits one machine. A wrong one is refused with the variable, the value and what it may
be: a monitor that runs on a guess counts the wrong interfaces in silence.
"""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_ROUTE: Final = "default-route"
"""Stands for the interface of the default route."""

VETHS: Final = "kind:veth"
"""Stands for every interface of kind veth."""

HOOKS: Final = ("auto", "xdp", "tc")

_NODE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_PAGE_BYTES: Final = 4096


class SettingsError(ValueError):
    """A variable holds what it may not hold; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """Interfaces that lead out of the node, and the hook their incoming packets are to be counted at."""

    pattern: str
    """Name, glob, or `DEFAULT_ROUTE`."""
    hook: str = "auto"
    """One of `HOOKS`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What one node's collector is told."""

    node: str
    kafka: str = "127.0.0.1:9092"
    uplinks: tuple[Uplink, ...] = (Uplink(DEFAULT_ROUTE),)
    pods: tuple[str, ...] = (VETHS,)
    exclude: tuple[str, ...] = ()
    bpffs: Path = Path("/run/kubenetinsight/bpf")
    netns: Path | None = None
    """Network namespace of the node; None: the collector's own."""
    netns_directory: Path = Path("/run/netns")
    """Where the pods' network namespaces have a name."""
    conversations: int = 65_536
    """Expected at once on all interfaces together; the table holds four times as many."""
    ring_bytes: int = 16 << 20
    active_timeout_seconds: int = 1
    listen: tuple[str, int] = ("127.0.0.1", 9465)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in an environment. Raises: SettingsError, to be shown to the user as it is."""
    known = Settings(node="known")
    return Settings(
        node=_read_node(environment),
        kafka=_read_servers(environment, known.kafka),
        uplinks=tuple(_read_uplink(part) for part in _read_list(environment, "KNI_UPLINKS", default=DEFAULT_ROUTE)),
        pods=_read_list(environment, "KNI_PODS", default=VETHS),
        exclude=_read_list(environment, "KNI_EXCLUDE", default=""),
        bpffs=_read_path(environment, "KNI_BPFFS", default=known.bpffs),
        netns=_read_path(environment, "KNI_NETNS", default=Path("/run/netns/node"))
        if environment.get("KNI_NETNS")
        else None,
        netns_directory=_read_path(environment, "KNI_NETNS_DIR", default=known.netns_directory),
        conversations=_read_number(environment, "KNI_CONVERSATIONS", default=known.conversations, within=(64, 1 << 22)),
        ring_bytes=_read_ring_bytes(environment, known.ring_bytes),
        active_timeout_seconds=_read_number(environment, "KNI_ACTIVE_TIMEOUT_SECONDS", default=1, within=(1, 3600)),
        listen=_read_listen(environment, known.listen),
    )


def settings_of_process() -> Settings:
    """The settings in this process's environment. Raises: SettingsError."""
    return read_settings(os.environ)


def _read_node(environment: Mapping[str, str]) -> str:
    node = environment.get("KNI_NODE") or socket.gethostname()
    if not _NODE.fullmatch(node):
        raise SettingsError(f"KNI_NODE={node}: not a node's name; give the name that Kubernetes knows the node by")
    return node


def _read_servers(environment: Mapping[str, str], default: str) -> str:
    value = environment.get("KNI_KAFKA") or default
    for server in value.split(","):
        _to_host_and_port("KNI_KAFKA", server.strip())
    return value


def _read_listen(environment: Mapping[str, str], default: tuple[str, int]) -> tuple[str, int]:
    value = environment.get("KNI_COLLECTOR_LISTEN")
    return _to_host_and_port("KNI_COLLECTOR_LISTEN", value) if value else default


def _to_host_and_port(variable: str, value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65_535:
        raise SettingsError(f"{variable}={value}: give HOST:PORT, such as 127.0.0.1:9092")
    return host.strip("[]"), int(port)


def _read_list(environment: Mapping[str, str], variable: str, *, default: str) -> tuple[str, ...]:
    """The parts of a comma list; a variable that is set and empty is an empty list."""
    return tuple(part.strip() for part in environment.get(variable, default).split(",") if part.strip())


def _read_uplink(part: str) -> Uplink:
    pattern, _, hook = part.partition("=")
    if not pattern or hook not in {"", *HOOKS}:
        raise SettingsError(f"KNI_UPLINKS={part}: give NAME or NAME={'|'.join(HOOKS)}, such as eth0=xdp")
    return Uplink(pattern, hook or "auto")


def _read_path(environment: Mapping[str, str], variable: str, *, default: Path) -> Path:
    path = Path(environment.get(variable) or default)
    if not path.is_absolute():
        raise SettingsError(f"{variable}={path}: give a path from the root, such as {default}")
    return path


def _read_number(environment: Mapping[str, str], variable: str, *, default: int, within: tuple[int, int]) -> int:
    value = environment.get(variable) or str(default)
    low, high = within
    if not value.isdecimal() or not low <= int(value) <= high:
        raise SettingsError(f"{variable}={value}: give a whole number from {low} to {high}")
    return int(value)


def _read_ring_bytes(environment: Mapping[str, str], default: int) -> int:
    size = _read_number(environment, "KNI_RING_BYTES", default=default, within=(_PAGE_BYTES, 1 << 30))
    if size & (size - 1):
        raise SettingsError(f"KNI_RING_BYTES={size}: the kernel wants a power of two, such as {default}")
    return size
