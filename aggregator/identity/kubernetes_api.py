"""A way to a Kubernetes API server to raw answers: configuration, authentication and HTTP, by the client library.

Its models are not used: they take fifty times the time and eight times the memory of what is read here.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kubernetes import client, config
from urllib3.exceptions import HTTPError
from yaml import YAMLError

from aggregator.identity.kubernetes_json import decode_refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 90
"""A watch hears a bookmark about once a minute: longer silence is a dead connection."""
_CHUNK_BYTES: Final = 1 << 16
_USUAL: Final = "~/.kube/config"
_USER_AGENT: Final = "kubenetinsight-aggregator"


class ConfigurationError(Exception):
    """There is no way to an API server by these settings. The message is for the user."""


class ApiError(Exception):
    """A request failed. `code` is the HTTP status, 0 where the server was not reached or stopped speaking."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{code}: {detail}" if code else detail)
        self.code = code
        self.detail = detail

    @property
    def reason(self) -> str:
        """A word for counters."""
        return f"status_{self.code}" if self.code else "unreachable"


class KubernetesApi:
    """One API server. Safe for any number of threads."""

    def __init__(self, configuration: client.Configuration, source: str) -> None:
        configuration.retries = False  # who calls decides when to try again
        self._client = client.ApiClient(configuration)
        self._client.user_agent = _USER_AGENT
        self._lock = threading.Lock()
        self._open: set[Any] = set()
        self._is_closed = False
        self.where = f"{configuration.host} (from {source})"
        """For messages."""

    def fetch(self, path: str, parameters: Mapping[str, str]) -> bytes:
        """The whole answer to a request. Raises: ApiError."""
        with self._answer(path, parameters) as response:
            body: bytes = response.read()
            return body

    def lines(self, path: str, parameters: Mapping[str, str]) -> Iterator[bytes]:
        """The lines of an answer as they come. Raises: ApiError."""
        rest = b""
        with self._answer(path, parameters) as response:
            for chunk in response.stream(_CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from filter(None, lines)

    def close(self) -> None:
        """Break off all requests, and refuse new ones."""
        with self._lock:
            self._is_closed = True
            for response in self._open:
                response.shutdown()

    @contextmanager
    def _answer(self, path: str, parameters: Mapping[str, str]) -> Iterator[Any]:
        try:
            response = self._request(path, parameters)
            try:
                with self._lock:
                    if self._is_closed:
                        raise ApiError(0, "stopped")
                    self._open.add(response)
                if response.status != 200:
                    raise ApiError(response.status, decode_refusal(response.read()))
                yield response
            finally:
                with self._lock:
                    self._open.discard(response)
                response.close()
        except (HTTPError, OSError, client.ApiException, config.ConfigException) as error:
            raise ApiError(0, f"{self.where} does not answer: {error}") from error

    def _request(self, path: str, parameters: Mapping[str, str]) -> Any:
        request = self._client.param_serialize(
            "GET",
            path,
            query_params=list(parameters.items()),
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        return self._client.call_api(*request, _request_timeout=(CONNECT_SECONDS, READ_SECONDS)).response


def connect(mode: str, kubeconfig: str) -> KubernetesApi | None:
    """The API server that a mode (auto, none, in-cluster, kubeconfig) leads to; None where there is to be none.

    `kubeconfig`: paths as in the variable KUBECONFIG, empty for the usual file, which auto does not insist on. Nothing
    is asked of the server yet. Raises: ConfigurationError.
    """
    if mode == "none":
        return None
    if mode == "in-cluster":
        return _in_cluster()
    if mode == "kubeconfig" or kubeconfig:
        return _by_kubeconfig(kubeconfig or _USUAL)
    try:
        return _in_cluster()
    except ConfigurationError:
        return _by_kubeconfig(_USUAL) if Path(_USUAL).expanduser().exists() else None


def _in_cluster() -> KubernetesApi:
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException as error:
        raise ConfigurationError(
            f"KNI_KUBERNETES=in-cluster does not work here: {_in_one_line(error)} "
            "Run this in a pod that has a service account's token, or set KNI_KUBERNETES=kubeconfig or none."
        ) from error
    return KubernetesApi(configuration, "the pod's service account")


def _by_kubeconfig(paths: str) -> KubernetesApi:
    configuration = client.Configuration()
    try:
        config.load_kube_config(paths, client_configuration=configuration, persist_config=False)
    except (config.ConfigException, OSError, YAMLError, LookupError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"The kubeconfig {paths} cannot be used: {_in_one_line(error)} "
            "Name a file that kubectl works with in KUBECONFIG, or set KNI_KUBERNETES=none."
        ) from error
    return KubernetesApi(configuration, paths)


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()).removesuffix(".") + "."
