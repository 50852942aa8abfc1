"""Kubernetes objects to their history: the current state, and every change since, in the order of one version counter.

It behaves as an API server's storage does: one resourceVersion for all resources, each write makes the next; changes
are kept for a while, then compacted, and who asks for older ones must list again.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
HISTORY = 4096


class TooOldError(Exception):
    """A version from before the kept history: list again (HTTP 410)."""


@dataclass(frozen=True)
class Document:
    """One object: which resource (the plural in its URL), its metadata, and the rest of its fields."""

    resource: str
    metadata: dict[str, Json]
    content: dict[str, Json] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """Its namespace; empty for what has none."""
        return str(self.metadata.get("namespace", ""))

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.metadata["name"])

    @property
    def sort_key(self) -> tuple[str, str]:
        """Its place in a list: etcd's keys are sorted."""
        return self.namespace, self.name


class Change(NamedTuple):
    """One write: ADDED, MODIFIED or DELETED, and the object as of then."""

    version: int
    type: str
    document: Document


class Snapshot(NamedTuple):
    """All objects of a resource as of a version, sorted by namespace and name."""

    version: int
    documents: tuple[Document, ...]


class Store:
    """Objects of one cluster; safe for any number of threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._documents: dict[tuple[str, str, str], Document] = {}
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._version = 1
        self._oldest = 1
        self._closed = False

    def put(self, document: Document) -> None:
        """Add an object, or replace the one with its name."""
        key = (document.resource, document.namespace, document.name)
        with self._changed:
            self._write("MODIFIED" if key in self._documents else "ADDED", document)
            self._documents[key] = self._history[-1].document

    def delete(self, document: Document) -> None:
        """Remove the object with the resource and name of `document`; its last state is `document`."""
        with self._changed:
            del self._documents[document.resource, document.namespace, document.name]
            self._write("DELETED", document)

    def _write(self, change_type: str, document: Document) -> None:
        self._version += 1
        stamped = Document(
            document.resource, document.metadata | {"resourceVersion": str(self._version)}, document.content
        )
        if len(self._history) == HISTORY:
            self._oldest = self._history[0].version
        self._history.append(Change(self._version, change_type, stamped))
        self._changed.notify_all()

    def get(self, resource: str, namespace: str, *, name: str) -> Document:
        """The object of that name; KeyError when there is none."""
        with self._changed:
            return self._documents[resource, namespace, name]

    def compact(self) -> None:
        """Forget all changes up to now, as etcd does every few minutes."""
        with self._changed:
            self._oldest = self._version
            self._history.clear()

    def snapshot(self, resource: str) -> Snapshot:
        """The current objects of a resource."""
        with self._changed:
            found = [document for (kind, _, _), document in self._documents.items() if kind == resource]
            return Snapshot(self._version, tuple(sorted(found, key=lambda document: document.sort_key)))

    def wait(self, version: int, timeout: float) -> tuple[int, tuple[Change, ...]]:
        """Version reached, and all changes after `version`; none when nothing came within `timeout` seconds.

        Raises:
            TooOldError: changes after `version` are forgotten already.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._version > version or self._closed, timeout)
            if version < self._oldest:
                raise TooOldError(f"too old resource version: {version} ({self._oldest})")
            return self._version, tuple(change for change in self._history if change.version > version)

    @property
    def is_closed(self) -> bool:
        """Whether nothing will change any more."""
        return self._closed

    def close(self) -> None:
        """Wake everybody who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
