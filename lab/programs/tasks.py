"""What a program can be told to do: a frozen record a task, sent as JSON to the process that runs it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Target:
    """Where a client dials, and who is known to be there ("" behind a service)."""

    address: str
    port: int
    peer: str = ""


@dataclass(frozen=True)
class Serve:
    """Answer exchanges over TCP, IPv4 and IPv6; think before each answer; first ask the target, if there is one."""

    port: int
    think_seconds: float
    downstream: Target | None = None


@dataclass(frozen=True)
class Call:
    """Make exchanges with a target: some on each connection, then a new one; for ever, or `count` of them."""

    target: Target
    every_seconds: float
    body: int = 200
    wished: int = 2000
    exchanges_per_connection: int = 8
    count: int | None = None


@dataclass(frozen=True)
class Dial:
    """Try to connect where nobody answers, or where the answer is a reset."""

    target: Target
    every_seconds: float
    timeout_seconds: float = 2.5


@dataclass(frozen=True)
class Upload:
    """Send `size` bytes over one connection, at no more than a rate."""

    target: Target
    size: int
    bytes_per_second: int


@dataclass(frozen=True)
class ServeNames:
    """Answer DNS queries over UDP for these names: each has an IPv4 and an IPv6 address."""

    port: int
    names: dict[str, list[str]]


@dataclass(frozen=True)
class Ask:
    """Ask for the A and then the AAAA record of each name in turn."""

    target: Target
    names: list[str]
    every_seconds: float


@dataclass(frozen=True)
class Echo:
    """Send each UDP datagram back."""

    port: int


@dataclass(frozen=True)
class Hoard:
    """Own a UDP port with a small buffer and read nothing until the end: what does not fit is dropped."""

    port: int
    buffer_bytes: int = 4096


@dataclass(frozen=True)
class Send:
    """Send UDP datagrams, and wait for each one's echo if there is to be one."""

    target: Target
    every_seconds: float
    size: int = 120
    wants_echo: bool = False


@dataclass(frozen=True)
class Ping:
    """Send ICMP or ICMPv6 echo requests."""

    target: Target
    every_seconds: float


Task: TypeAlias = Serve | Call | Dial | Upload | ServeNames | Ask | Echo | Hoard | Send | Ping
KINDS: dict[str, type[Task]] = {
    kind.__name__: kind for kind in (Serve, Call, Dial, Upload, ServeNames, Ask, Echo, Hoard, Send, Ping)
}


@dataclass(frozen=True)
class Program:
    """What runs in one place: a name for the ledger, the namespace to enter, and tasks that run side by side."""

    me: str
    namespace: str
    ledger: str
    tasks: tuple[Task, ...]


def to_line(program: Program) -> str:
    """A program as one line of JSON."""
    tasks = [{"do": type(task).__name__, **asdict(task)} for task in program.tasks]
    return json.dumps({"me": program.me, "namespace": program.namespace, "ledger": program.ledger, "tasks": tasks})


def from_line(line: str) -> Program:
    """The program that `to_line` wrote."""
    found = json.loads(line)
    return Program(found["me"], found["namespace"], found["ledger"], tuple(_to_task(task) for task in found["tasks"]))


def _to_task(fields: dict[str, object]) -> Task:
    kind = KINDS[str(fields.pop("do"))]
    for name in ("target", "downstream"):
        nested = fields.get(name)
        if isinstance(nested, dict):
            fields[name] = Target(**nested)
    return kind(**fields)  # type: ignore[arg-type]
