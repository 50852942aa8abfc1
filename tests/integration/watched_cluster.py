"""An API server that tests can break, and what a watch of it tells."""

from __future__ import annotations

import json
import queue
import socket
import threading
from contextlib import contextmanager, suppress
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from aggregator.identity.identities import Identities
from aggregator.identity.kubernetes_watch import Watch, start_watch
from aggregator.identity.objects import Event, Resource
from aggregator.identity.ranges import RangeSettings
from lab.store import Document, Json, Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


TOKEN = "a-token"
AT = "2026-11-24T08:00:00Z"


def pod(name: str, ip: str = "") -> Document:
    metadata: dict[str, Json] = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "creationTimestamp": AT}
    status: Json = {"phase": "Running", "podIPs": [{"ip": ip}] if ip else []}
    return Document("pods", metadata, {"spec": {"nodeName": "node-1"}, "status": status})


class ForgetfulStore(Store):
    """A store that can lose history in the same moment as something happens."""

    def delete_unheard(self, document: Document) -> None:
        """Delete, and forget that it was: only a new list can tell."""
        with self._changed:
            self.delete(document)
            self.compact()


class Gate:
    """A TCP port that leads to a server, can be shut, and cuts what passes it."""

    def __init__(self, target: str) -> None:
        self._target = ("127.0.0.1", int(target.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.is_open = True
        self._passing: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def cut(self) -> None:
        """End all connections."""
        while self._passing:
            with suppress(OSError):  # its own end may have been faster
                self._passing.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self.is_open:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._passing += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket) -> None:
        with source:
            try:
                while piece := source.recv(1 << 16):
                    sink.sendall(piece)
                sink.shutdown(socket.SHUT_RDWR)
            except OSError:
                return


def write_kubeconfig(path: Path, server: str, token: str = TOKEN) -> str:
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "lab",
                "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
                "clusters": [{"name": "lab", "cluster": {"server": server}}],
                "users": [{"name": "lab", "user": {"token": token}}],
            }
        )
    )
    return str(path)


class Listener:
    """What a watch tells, applied to identities as a worker does it."""

    def __init__(self, watch: Watch, events: queue.SimpleQueue[Event]) -> None:
        self.watch = watch
        self._events = events
        self.heard: list[Event] = []
        self.identities = Identities(RangeSettings(), is_watching=True)

    def drain(self) -> Listener:
        while not self._events.empty():
            self.heard.append(self._events.get())
            self.identities.apply(self.heard[-1])
        return self

    def is_ready(self) -> bool:
        return self.drain().identities.ready

    def pods(self) -> set[str]:
        """Names of the pods whose lease lasts."""
        self.drain()
        rows = self.identities.changed_rows().to_pylist()
        return {row["pod"] for row in rows if row["kind"] == "pod" and row["valid_to"].year == 2262}

    def count(self, kind: str, resource: Resource = Resource.PODS) -> int:
        return self.watch.tally.counts().get((resource.name.lower(), kind), 0)


@contextmanager
def listening(kubeconfig: str) -> Iterator[Listener]:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    times = count(1)
    watch = start_watch("kubeconfig", kubeconfig, events=events, clock=lambda: next(times), random=Random(7))
    assert watch is not None
    try:
        yield Listener(watch, events)
    finally:
        watch.stop()
