"""Offset progress to health: `/metrics`, `/healthz` and `/readyz` on a port of their own.

A consumer can die without a word, so a running process proves nothing: healthy is who stores messages while there are
any.
"""

from __future__ import annotations

import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from aggregator.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from aggregator.metrics import Metrics
    from aggregator.settings import Listen

STALLED_SECONDS: Final = 120.0
"""Longer than any rebalance; an outage of Kafka or ClickHouse is waited out and stated in the answer, not punished."""

FIRST_ASSIGNMENT: Final = "its first assignment"


class ListenError(Exception):
    """Somebody else listens there; the text is for the user."""


class Progress:
    """When this worker last stored something, and what keeps it from doing so; safe from any thread."""

    def __init__(self, *, now: float) -> None:
        self._moved = now
        self._away = {FIRST_ASSIGNMENT: None}

    @property
    def waiting_for(self) -> str:
        """What the worker waits for, empty while it works."""
        return ", ".join(tuple(self._away))

    def moved(self, now: float) -> None:
        """Messages were stored, or there are none."""
        self._moved = now
        self._away.pop(FIRST_ASSIGNMENT, None)

    def waits(self, server: str) -> None:
        """Work goes on as soon as somebody else does."""
        self._away[server] = None

    def goes_on(self, server: str) -> None:
        """Somebody else does again."""
        self._away.pop(server, None)

    def is_stalled(self, now: float) -> bool:
        """Nothing moved for long, and nobody else is to blame."""
        return not self._away and now - self._moved > STALLED_SECONDS


class _Server(ThreadingHTTPServer):
    """A server to whom an asker that hangs up before the answer is no error."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """What else goes wrong is said with a traceback."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class HealthServer:
    """Serves in a thread of its own until it is closed."""

    def __init__(self, listen: Listen, *, metrics: Metrics, progress: Progress, clock: Callable[[], float]) -> None:
        """`clock`: monotonic seconds. Raises: ListenError."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                code, kind, body = _answer(self.path, metrics=metrics, progress=progress, now=clock())
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Probes are no news."""

        try:
            self._server = _Server((listen.host, listen.port), Handler)
        except OSError as error:
            raise ListenError(
                f"{listen.host}:{listen.port} can't be listened on ({error.strerror}): stop what uses it, "
                "or set KNI_AGGREGATOR_LISTEN to another HOST:PORT"
            ) from error
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Serve no longer."""
        self._server.shutdown()
        self._server.server_close()


def _answer(path: str, *, metrics: Metrics, progress: Progress, now: float) -> tuple[HTTPStatus, str, bytes]:
    text = "text/plain; charset=utf-8"
    match path.partition("?")[0]:
        case "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE, metrics.exposition()
        case "/healthz":
            stalled = progress.is_stalled(now)
            words = "messages wait and none is stored" if stalled else progress.waiting_for or "ok"
            return HTTPStatus.SERVICE_UNAVAILABLE if stalled else HTTPStatus.OK, text, f"{words}\n".encode()
        case "/readyz":
            waiting = progress.waiting_for
            code = HTTPStatus.SERVICE_UNAVAILABLE if waiting else HTTPStatus.OK
            return code, text, f"{f'waits for {waiting}' if waiting else 'ok'}\n".encode()
        case _:
            return HTTPStatus.NOT_FOUND, text, b"/metrics, /healthz or /readyz\n"
