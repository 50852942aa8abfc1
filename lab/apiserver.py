"""Stored objects to the Kubernetes API: list and watch over HTTP on 127.0.0.1, as a real API server speaks them.

Lists page by `limit` and `continue` over one snapshot; watches send changes after `resourceVersion`, bookmarks on
demand, and end at `timeoutSeconds`. A version that is forgotten is 410: as the answer to a list, as an ERROR
event in a watch. What is not served (selectors, other resources) is refused, never ignored.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections import OrderedDict
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from lab.resources import Query, RefusedError, expired, from_token, to_bookmark, to_list, to_object, to_query
from lab.store import Change, Json, Snapshot, Store, TooOldError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOOKMARK_SECONDS = 5.0
WATCH_SECONDS = 1800
SNAPSHOTS = 16
VERSION: Json = {"major": "1", "minor": "34", "gitVersion": "v1.34.1-lab", "platform": "linux/amd64"}


class ApiServer:
    """Serves a store; `address` and `token` are what a client needs."""

    def __init__(self, store: Store, token: str, *, clock: Callable[[], float]) -> None:
        self.store = store
        self.token = token
        self.clock = clock
        self.forbidden: frozenset[str] = frozenset()
        """Plurals of resources that the token's role may not see."""
        self._snapshots: OrderedDict[tuple[str, int], Snapshot] = OrderedDict()
        self._lock = threading.Lock()
        self.address = ""

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer while the context lasts, at `address`, on a free port; all watches end with it."""
        handler = type("Handler", (_Handler,), {"api": self})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
            http.daemon_threads = True
            self.address = f"http://127.0.0.1:{http.server_address[1]}"
            thread = threading.Thread(target=http.serve_forever, args=(0.05,), name="apiserver", daemon=True)
            thread.start()
            try:
                yield
            finally:
                self.store.close()
                http.shutdown()
                thread.join()

    def compact(self) -> None:
        """Forget all past versions: pages in progress and older watches get 410."""
        with self._lock:
            self._snapshots.clear()
        self.store.compact()

    def page(self, query: Query) -> Json:
        """The list that a query asks for: a page of the present, or of the snapshot that `continue` names.

        Raises:
            RefusedError: that snapshot is forgotten (410), or a version is asked for that does not exist yet (504).
        """
        token = query.parameters.get("continue")
        if token:
            version, start = from_token(token)
            with self._lock:
                snapshot = self._snapshots.get((query.resource.plural, version))
            if snapshot is None:
                raise expired("The provided continue parameter is too old to display a consistent list result.")
            return to_list(snapshot, query, start=start)
        snapshot = self.store.snapshot(query.resource.plural)
        self._check_version(query, snapshot.version)
        if query.number("limit"):
            with self._lock:
                self._snapshots[query.resource.plural, snapshot.version] = snapshot
                while len(self._snapshots) > SNAPSHOTS:
                    self._snapshots.popitem(last=False)
        return to_list(snapshot, query, start=("", ""))

    @staticmethod
    def _check_version(query: Query, current: int) -> None:
        wanted = query.number("resourceVersion") or 0
        if wanted > current:
            message = f"Timeout: Too large resource version: {wanted}, current: {current}"
            raise RefusedError(504, "Timeout", message=message)
        if query.parameters.get("resourceVersionMatch") == "Exact" and wanted != current:
            raise expired(f"The resourceVersion for the provided list is too old: {wanted}")

    def one(self, query: Query) -> Json:
        """The object that a query names.

        Raises:
            RefusedError: there is none (404).
        """
        for document in self.store.snapshot(query.resource.plural).documents:
            if query.selects(document) and document.name == query.name:
                return to_object(document, query.resource)
        raise RefusedError(404, "NotFound", message=f'{query.resource.plural} "{query.name}" not found')

    def events(self, query: Query) -> Iterator[Json | None]:
        """The events of a watch until its time is over; None where it is time to see if the client is still there."""
        version = query.number("resourceVersion") or 0
        if version == 0:
            snapshot = self.store.snapshot(query.resource.plural)
            version = snapshot.version
            for document in filter(query.selects, snapshot.documents):
                yield {"type": "ADDED", "object": to_object(document, query.resource)}
        seconds = query.number("timeoutSeconds")
        end = self.clock() + (WATCH_SECONDS if seconds is None else seconds)
        pause = self.clock() + BOOKMARK_SECONDS
        while not self.store.is_closed and (now := self.clock()) < end:
            try:
                version, changes = self.store.wait(version, min(end, pause) - now)
            except TooOldError as error:
                yield {"type": "ERROR", "object": expired(str(error)).status}
                return
            yield from _to_events(changes, query)
            if self.clock() >= min(end, pause):
                pause += BOOKMARK_SECONDS
                yield to_bookmark(version, query.resource) if query.wants_bookmarks else None


def _to_events(changes: tuple[Change, ...], query: Query) -> Iterator[Json]:
    for change in changes:
        if change.document.resource == query.resource.plural and query.selects(change.document):
            yield {"type": change.type, "object": to_object(change.document, query.resource)}


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    api: ApiServer
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        """Serve the connection until either side ends it; clients of a watch go away without a word."""
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        """Answer a request; an error is a Status object."""
        path = self.path.partition("?")[0]
        try:
            if path in {"/readyz", "/livez", "/healthz"}:
                self._send(HTTPStatus.OK, b"ok", content_type="text/plain")
            elif path == "/version":
                self._send_json(HTTPStatus.OK, VERSION)
            else:
                self._answer()
        except RefusedError as refusal:
            self._send_json(refusal.code, refusal.status)

    def _answer(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {self.api.token}":
            raise RefusedError(401, "Unauthorized", message="Unauthorized")
        query = to_query(self.path)
        if query.resource.plural in self.api.forbidden:
            message = f'{query.resource.plural} is forbidden: User "lab" cannot list resource "{query.resource.plural}"'
            raise RefusedError(403, "Forbidden", message=message)
        if query.is_watch:
            self._send_events(query)
        else:
            self._send_json(HTTPStatus.OK, self.api.one(query) if query.name else self.api.page(query))

    def _send_json(self, code: int, body: Json) -> None:
        self._send(code, json.dumps(body, separators=(",", ":")).encode(), content_type="application/json")

    def _send(self, code: int, body: bytes, *, content_type: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_events(self, query: Query) -> None:
        query.number("resourceVersion")  # refuse what is malformed while a status can still be sent
        query.number("timeoutSeconds")
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in self.api.events(query):
            if event is None:
                self._check_client()
            else:
                line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    def _check_client(self) -> None:
        if select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK):
            raise ConnectionResetError

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the parent's name)
        """Keep the terminal for the lab's user."""
