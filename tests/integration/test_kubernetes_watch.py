"""List + watch against an API server that speaks the real protocol: nothing is missed, whatever breaks."""

from __future__ import annotations

import json
import queue
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from aggregator.identities import Identities
from aggregator.kubernetes_api import ConfigurationError
from aggregator.kubernetes_watch import PAGE, Watch, WatchRefusedError, start_watch
from aggregator.objects import Changed, Deleted, Event, Listed, Pod, Resource
from aggregator.ranges import RangeSettings
from lab.apiserver import ApiServer
from lab.store import Document, Json, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.resources import Query
    from tests.deadline import Eventually

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


@pytest.fixture
def store() -> ForgetfulStore:
    return ForgetfulStore()


@pytest.fixture
def server(store: ForgetfulStore) -> Iterator[ApiServer]:
    # The server's clock stands still: no watch ends, and no bookmark comes, unless the test lets time pass.
    api = ApiServer(store, TOKEN, clock=lambda: 0.0)
    with api.serving():
        yield api


@pytest.fixture
def gate(server: ApiServer) -> Iterator[Gate]:
    gate = Gate(server.address)
    yield gate
    gate.close()


def test_what_is_there_is_told_first_and_then_each_change(
    store: ForgetfulStore, server: ApiServer, tmp_path: Path, eventually: Eventually
) -> None:
    store.put(pod("a", "10.244.0.1"))
    with listening(write_kubeconfig(tmp_path / "config", server.address)) as listener:
        eventually(listener.is_ready, within_seconds=10)
        assert listener.pods() == {"a"}
        store.put(pod("b", "10.244.0.2"))
        store.put(pod("b", "10.244.0.3"))
        eventually(lambda: listener.pods() == {"a", "b"}, within_seconds=10)
        store.delete(pod("a", "10.244.0.1"))
        eventually(lambda: listener.pods() == {"b"}, within_seconds=10)
        assert listener.count("lists") == 1
        assert listener.watch.tally.troubles() == {}
    kinds = [type(event) for event in listener.heard if isinstance(event, Deleted)]
    assert kinds == [Deleted]


def test_nobody_is_ready_before_every_resource_was_listed(
    store: ForgetfulStore, server: ApiServer, tmp_path: Path, eventually: Eventually
) -> None:
    with listening(write_kubeconfig(tmp_path / "config", server.address)) as listener:
        eventually(listener.is_ready, within_seconds=10)
        listed = {event.resource for event in listener.heard if isinstance(event, Listed)}
    assert listed == set(Resource)
    assert store.snapshot("pods").documents == ()


def test_a_long_list_comes_in_pages_and_counts_as_one(
    store: ForgetfulStore, server: ApiServer, tmp_path: Path, eventually: Eventually
) -> None:
    names = {f"pod-{number:04d}" for number in range(2 * PAGE + 1)}
    for name in names:
        store.put(pod(name))
    with listening(write_kubeconfig(tmp_path / "config", server.address)) as listener:
        eventually(listener.is_ready, within_seconds=20)
    pages = [event for event in listener.heard if isinstance(event, Changed) and event.objects]
    assert [len(page.objects) for page in pages] == [PAGE, PAGE, 1]
    assert {each.name for page in pages for each in page.objects if isinstance(each, Pod)} == names
    (listed,) = [event for event in listener.heard if isinstance(event, Listed) and event.resource is Resource.PODS]
    assert len(listed.uids) == 2 * PAGE + 1


class CompactingServer(ApiServer):
    """Forgets its history between the first page of a list and the second, once."""

    has_forgotten = False

    def page(self, query: Query) -> Json:
        if "continue" in query.parameters and not self.has_forgotten:
            self.has_forgotten = True
            self.compact()
        return super().page(query)


def test_a_list_whose_pages_expire_is_asked_for_again_and_whole(
    store: ForgetfulStore, tmp_path: Path, eventually: Eventually
) -> None:
    for number in range(PAGE + 1):
        store.put(pod(f"pod-{number:04d}"))
    server = CompactingServer(store, TOKEN, clock=lambda: 0.0)
    with server.serving(), listening(write_kubeconfig(tmp_path / "config", server.address)) as listener:
        eventually(listener.is_ready, within_seconds=20)
        assert listener.count("status_410") == 1
        assert listener.count("lists") == 1
    assert max(len(event.objects) for event in listener.heard if isinstance(event, Changed)) == PAGE + 1


def test_a_deletion_that_the_server_has_forgotten_is_not_lost(
    store: ForgetfulStore, server: ApiServer, tmp_path: Path, eventually: Eventually
) -> None:
    for name, ip in (("a", "10.244.0.1"), ("b", "10.244.0.2")):
        store.put(pod(name, ip))
    with listening(write_kubeconfig(tmp_path / "config", server.address)) as listener:
        eventually(lambda: listener.pods() == {"a", "b"}, within_seconds=10)
        eventually(listener.is_ready, within_seconds=10)
        store.delete_unheard(pod("a", "10.244.0.1"))
        eventually(lambda: listener.pods() == {"b"}, within_seconds=20)
        assert listener.count("lists") == 2
        assert listener.count("status_410") == 1
    assert not [event for event in listener.heard if isinstance(event, Deleted)]


def test_a_cut_connection_goes_on_where_it_was(
    store: ForgetfulStore, gate: Gate, tmp_path: Path, eventually: Eventually
) -> None:
    store.put(pod("a", "10.244.0.1"))
    with listening(write_kubeconfig(tmp_path / "config", gate.address)) as listener:
        eventually(listener.is_ready, within_seconds=10)
        store.put(pod("b", "10.244.0.2"))
        eventually(lambda: listener.pods() == {"a", "b"}, within_seconds=10)
        gate.is_open = False
        gate.cut()
        eventually(lambda: listener.count("unreachable") > 0, within_seconds=10)
        assert "does not answer" in eventually(listener.watch.tally.troubles, within_seconds=10)["pods"]
        store.delete(pod("a", "10.244.0.1"))
        gate.is_open = True
        eventually(lambda: listener.pods() == {"b"}, within_seconds=20)
        assert listener.count("lists") == 1
        assert "pods" not in listener.watch.tally.troubles()


def test_a_server_that_is_away_at_the_start_is_waited_for(
    store: ForgetfulStore, gate: Gate, tmp_path: Path, eventually: Eventually
) -> None:
    store.put(pod("a", "10.244.0.1"))
    gate.is_open = False
    with listening(write_kubeconfig(tmp_path / "config", gate.address)) as listener:
        troubles = eventually(listener.watch.tally.troubles, within_seconds=10)
        assert gate.address in next(iter(troubles.values()))
        assert not listener.is_ready()
        gate.is_open = True
        eventually(listener.is_ready, within_seconds=20)
        assert listener.pods() == {"a"}


def test_an_object_that_cannot_be_read_is_counted_and_said_and_keeps_its_lease(
    store: ForgetfulStore, server: ApiServer, tmp_path: Path, eventually: Eventually
) -> None:
    store.put(pod("a", "10.244.0.1"))
    with listening(write_kubeconfig(tmp_path / "config", server.address)) as listener:
        eventually(listener.is_ready, within_seconds=10)
        store.put(pod("a", "10.244"))
        eventually(lambda: listener.count("unreadable") == 1, within_seconds=10)
        assert "'10.244'" in listener.watch.tally.troubles()["pods"]
        store.put(pod("b", "10.244.0.2"))
        store.delete_unheard(pod("b", "10.244.0.2"))
        eventually(lambda: listener.count("lists") == 2, within_seconds=20)
        assert listener.pods() == {"a"}


def test_stopping_breaks_off_watches_at_once(server: ApiServer, tmp_path: Path, eventually: Eventually) -> None:
    with listening(write_kubeconfig(tmp_path / "config", server.address)) as listener:
        eventually(listener.is_ready, within_seconds=10)
        stopping = threading.Thread(target=listener.watch.stop)
        stopping.start()
        eventually(lambda: not stopping.is_alive(), within_seconds=5)


def start(mode: str, kubeconfig: str) -> Watch | None:
    return start_watch(mode, kubeconfig, events=queue.SimpleQueue(), clock=lambda: 1, random=Random(7))


def test_credentials_that_are_refused_are_said_at_the_start(server: ApiServer, tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "config", server.address, token="another")
    with pytest.raises(WatchRefusedError, match=r"does not accept our credentials \(401: Unauthorized\): renew"):
        start("kubeconfig", kubeconfig)


@contextmanager
def refusing(code: int, path: str) -> Iterator[str]:
    """A server that has empty lists, and refuses one of them."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_refused = self.path.partition("?")[0] == path
            body: dict[str, Any] = {"metadata": {"resourceVersion": "1"}, "items": []}
            if is_refused:
                body = {"kind": "Status", "code": code, "reason": "No", "message": "you may not"}
            text = json.dumps(body).encode()
            self.send_response(code if is_refused else 200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Keep the test's output for the test."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("code", "resource", "message"),
    [
        (403, Resource.PODS, r"does not let us see pods \(403: you may not\): allow the verbs list and watch on pods"),
        (403, Resource.ENDPOINT_SLICES, r"allow the verbs list and watch on endpointslices"),
        (404, Resource.REPLICA_SETS, r"has no replicasets \(404: you may not\)"),
    ],
)
def test_what_a_role_does_not_allow_is_said_at_the_start(
    tmp_path: Path, code: int, resource: Resource, message: str
) -> None:
    with refusing(code, resource.value) as address, pytest.raises(WatchRefusedError, match=message):
        start("kubeconfig", write_kubeconfig(tmp_path / "config", address))


def write_nothing(path: Path) -> None:
    path.write_text("")


def write_no_yaml(path: Path) -> None:
    path.write_text("clusters: [")


def write_no_context(path: Path) -> None:
    path.write_text('{"apiVersion": "v1", "clusters": [], "contexts": [], "users": []}')


@pytest.mark.parametrize("write", [lambda path: None, write_nothing, write_no_yaml, write_no_context])
@pytest.mark.parametrize("mode", ["kubeconfig", "auto"])
def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, mode: str, write: Callable[[Path], None]) -> None:
    path = tmp_path / "config"
    write(path)
    with pytest.raises(ConfigurationError, match=rf"The kubeconfig {path} cannot be used: .+ Name a file"):
        start(mode, str(path))


def test_outside_a_pod_in_cluster_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigurationError, match="KNI_KUBERNETES=in-cluster does not work here"):
        start("in-cluster", "")


def test_without_any_cluster_there_is_no_watch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert start("auto", "") is None
    assert start("none", "") is None
