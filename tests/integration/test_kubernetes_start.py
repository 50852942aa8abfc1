"""A way to Kubernetes, or one message that says what is wrong, where, and what to do."""

from __future__ import annotations

import json
import queue
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from aggregator.identity.kubernetes_api import ConfigurationError
from aggregator.identity.kubernetes_watch import Watch, WatchRefusedError, start_watch
from aggregator.identity.objects import Resource
from lab.apiserver import ApiServer
from lab.store import Store
from tests.integration.watched_cluster import TOKEN, write_kubeconfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[ApiServer]:
    api = ApiServer(Store(), TOKEN, clock=lambda: 0.0)
    with api.serving():
        yield api


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
