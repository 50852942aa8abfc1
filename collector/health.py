"""The collector's state to its own HTTP port: metrics for Prometheus, probes for Kubernetes, status for people.

`/healthz` fails when the collector stands still (Kubernetes then starts it anew), `/readyz` while it has nothing
attached or Kafka does not acknowledge. Kafka being away is no reason to be killed: the ring is waiting.
"""

import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec

from collector.inventory import HookEntry
from collector.metrics import Metrics
from collector.state import RingState, State

_STANDSTILL_NS: Final = 10 * 10**9
_SILENCE_NS: Final = 10 * 10**9
_TEXT: Final = "text/plain; charset=utf-8"
_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"


class PortTakenError(Exception):
    """Somebody else listens there; the text is for the user."""


class Status(msgspec.Struct, frozen=True):
    """What `kubenetinsight status` shows of a collector. Times are Unix nanoseconds."""

    node: str
    version: str
    now_ns: int
    started_ns: int
    counting_since_ns: int
    is_healthy: bool
    is_ready: bool
    problems: list[str]
    interfaces: list[HookEntry]
    refused: dict[str, str]
    uncovered: int
    held_packets: int
    conversations: int
    places: int
    rings: list[RingState]
    counters: dict[str, int]
    publish_errors: int
    last_acknowledged_ns: int


def standstill(state: State) -> str | None:
    """Why the collector makes no progress; None: it does."""
    age_ns = state.now_ns - max(state.last_tick_ns, state.started_ns)
    return f"the table was not swept for {age_ns // 10**9} s" if age_ns > _STANDSTILL_NS else None


def unreadiness(state: State) -> str | None:
    """Why records do not arrive; None: they do."""
    if not state.interfaces:
        return "no interface is attached: set KNI_UPLINKS or KNI_PODS, or wait for a pod"
    if not state.last_acknowledged_ns:
        return f"Kafka has acknowledged nothing yet ({state.kafka_error or 'no error told'}): check KNI_KAFKA"
    silent_ns = state.now_ns - state.last_acknowledged_ns
    if silent_ns > _SILENCE_NS:
        return f"Kafka acknowledges nothing since {silent_ns // 10**9} s ({state.kafka_error or 'no error told'})"
    return None


def to_status(state: State) -> Status:
    """The state as the command line shows it."""
    problems = [problem for problem in (standstill(state), unreadiness(state)) if problem]
    return Status(
        node=state.node,
        version=state.version,
        now_ns=state.now_ns,
        started_ns=state.started_ns,
        counting_since_ns=state.counting_since_ns,
        is_healthy=standstill(state) is None,
        is_ready=not problems,
        problems=problems,
        interfaces=state.interfaces,
        refused=state.refused,
        uncovered=state.uncovered,
        held_packets=state.held_packets,
        conversations=state.conversations,
        places=state.places,
        rings=[state.flows, state.drops],
        counters=state.counters,
        publish_errors=state.publish_errors,
        last_acknowledged_ns=state.last_acknowledged_ns,
    )


class _Server(ThreadingHTTPServer):
    """A server to whom an asker that hangs up before the answer is no error."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """What else goes wrong is said with a traceback."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Doors:
    """The HTTP server, listening since its construction, answering between `start` and `stop`."""

    def __init__(self, listen: tuple[str, int], state: Callable[[], State]) -> None:
        """Raises: PortTakenError."""
        pages: dict[str, Callable[[], tuple[HTTPStatus, str, bytes]]] = {
            "/metrics": lambda: (HTTPStatus.OK, _PROMETHEUS, metrics.render()),
            "/status": lambda: (HTTPStatus.OK, "application/json", msgspec.json.encode(to_status(state()))),
            "/healthz": lambda: _verdict(standstill(state())),
            "/readyz": lambda: _verdict(unreadiness(state())),
        }
        metrics = Metrics(state)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = pages.get(self.path.partition("?")[0])
                code, kind, body = page() if page else (HTTPStatus.NOT_FOUND, _TEXT, f"{' '.join(pages)}\n".encode())
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Probes come every few seconds: they are no news."""

        try:
            self._server = _Server(listen, Handler)
        except OSError as error:
            host, port = listen
            raise PortTakenError(
                f"{host}:{port} can't be listened on ({error.strerror}): stop what uses it, "
                "or set KNI_COLLECTOR_LISTEN to another HOST:PORT"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="doors", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: the port that was chosen where 0 was asked for."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer and listen no more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _verdict(problem: str | None) -> tuple[HTTPStatus, str, bytes]:
    if problem is None:
        return HTTPStatus.OK, _TEXT, b"ok\n"
    return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, f"{problem}\n".encode()
