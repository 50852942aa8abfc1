"""Payload to ledger: what a program sent and received, counted by conversation, in a file that others read.

An entry is one kind of conversation as one side saw it. What is counted is payload: less than what is on the wire.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = (
    "connections",  # TCP: opened (client) or accepted (server)
    "refused",  # TCP: answered by a reset
    "unanswered",  # TCP: no answer before the client gave up
    "failed",  # anything else that went wrong after the start
    "exchanges",  # requests with their answers
    "bytes_sent",
    "bytes_received",
    "datagrams_sent",  # UDP datagrams and ICMP echo messages
    "datagrams_received",
)


class Conversation(NamedTuple):
    """What is counted as one.

    `me` and `peer` are "namespace/name" of pods, "node/NAME" or "outside"; the peer is empty where a program cannot
    know who stands behind a service's address. `address` and `port` are the ones dialled, as they are on the client's
    own interface; a server has its own port there, and the address it saw the client come from.
    """

    side: str  # "client" or "server"
    me: str
    peer: str
    protocol: str  # "tcp", "udp", "icmp"
    address: str
    port: int


class Entry(NamedTuple):
    """A conversation and its counts, by the names in COUNTS; what is absent is 0."""

    conversation: Conversation
    counts: Counter[str]


class Ledger:
    """One program's entries, going on from what its file already says; safe for its threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._entries: dict[Conversation, Counter[str]] = dict(read(path)) if path.exists() else {}

    def add(self, conversation: Conversation, **counts: int) -> None:
        """Add to the counts of a conversation."""
        with self._lock:
            self._entries.setdefault(conversation, Counter()).update(counts)

    def write(self) -> None:
        """Replace the file by the present state; readers see the old or the new one, whole."""
        with self._lock:
            rows = [{**conversation._asdict(), **counts} for conversation, counts in self._entries.items()]
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(rows))
        fresh.replace(self._path)


def read(path: Path) -> list[Entry]:
    """The entries of one program's file."""
    return [
        Entry(
            Conversation(**{name: row[name] for name in Conversation._fields}),
            Counter({name: row[name] for name in COUNTS if name in row}),
        )
        for row in json.loads(path.read_text())
    ]
