"""HTTP connections to the engine's threads: ClickHouse's HTTP interface on a socket that is already bound."""

from __future__ import annotations

import asyncio
import base64
import binascii
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from aiohttp import web

from standalone import compression
from standalone.clickhouse_errors import Code, DatabaseError, fault
from standalone.clickhouse_protocol import CONTENT_TYPE, read_statement, summary

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from standalone.clickhouse_engine import Answer, Engine
    from standalone.clickhouse_protocol import Statement

THREADS = 8
MOST_WAITING = 64
LARGEST_BODY = 256 << 20
LONGEST_LINE = 1 << 20
DRAIN_SECONDS = 10.0


class Front:
    """Requests to answers; statements run in a bounded number of threads, and a bounded number may wait for one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="clickhouse")
        self._running = 0

    async def ping(self, _: web.Request) -> web.Response:
        """The server is there."""
        return web.Response(text="Ok.\n")

    async def statement(self, request: web.Request) -> web.StreamResponse:
        """One statement's answer, or its error as ClickHouse words it."""
        try:
            _check_user(request)
            if self._running >= THREADS + MOST_WAITING:
                raise fault(Code.TOO_MANY_SIMULTANEOUS_QUERIES, "Too many simultaneous queries")
            self._running += 1
            try:
                body = await _body(request)
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, request, body)
            finally:
                self._running -= 1
        except DatabaseError as error:
            return _error(error)

    def close(self) -> None:
        """Wait for the statements that run."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _answer(self, request: web.Request, body: bytes) -> web.Response:
        """In a thread of the pool: decode, run, encode."""
        statement = read_statement(
            request.query.items(),
            request.headers,
            body=_decoded(request, body),
            is_get=request.method in {"GET", "HEAD"},
        )
        return _response(request, statement, answer=self._engine.run(statement))


async def serve(listener: socket.socket, engine: Engine, *, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
    """Serve until `stop` is set; statements that run then are finished and answered."""
    front = Front(engine)
    application = web.Application(client_max_size=LARGEST_BODY)
    application.add_routes(
        [
            web.get("/ping", front.ping),
            web.get("/replicas_status", front.ping),
            web.get("/", front.statement),
            web.post("/", front.statement),
        ]
    )
    runner = web.AppRunner(
        application,
        access_log=None,
        auto_decompress=False,
        max_line_size=LONGEST_LINE,
        shutdown_timeout=DRAIN_SECONDS,
    )
    await runner.setup()
    await web.SockSite(runner, listener).start()
    on_ready()
    try:
        await stop.wait()
    finally:
        await runner.cleanup()
        front.close()


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise fault(Code.TOO_MANY_BYTES, f"The request's body has more than {LARGEST_BODY} bytes") from error


def _decoded(request: web.Request, body: bytes) -> bytes:
    try:
        return compression.decode(
            request.headers.get("Content-Encoding", "").strip().lower(), body, at_most=LARGEST_BODY
        )
    except compression.DecodeError as error:
        raise fault(Code.CANNOT_DECOMPRESS, str(error)) from error


def _response(request: web.Request, statement: Statement, *, answer: Answer) -> web.Response:
    headers = {
        "X-ClickHouse-Summary": summary(answer.counts),
        "X-ClickHouse-Format": statement.format,
        "X-ClickHouse-Query-Id": request.query.get("query_id", ""),
        "Content-Type": CONTENT_TYPE.get(statement.format, "text/plain; charset=UTF-8"),
        "Vary": "Accept-Encoding",
    }
    body = answer.body
    encoding = compression.choose(request.headers.get("Accept-Encoding", ""))
    wanted = request.query.get("enable_http_compression", "1") not in {"0", "false"}
    if encoding and wanted and len(body) >= compression.SMALLEST_WORTH_ENCODING:
        body = compression.ENCODERS[encoding](body)
        headers["Content-Encoding"] = encoding
    return web.Response(body=body, headers=headers)


def _error(error: DatabaseError) -> web.Response:
    return web.Response(
        status=error.status,
        text=f"{error}\n",
        headers={"X-ClickHouse-Exception-Code": str(error.code)},
    )


def _check_user(request: web.Request) -> None:
    """There is one user, `default`, without a password, as in ClickHouse as it is installed."""
    user = request.headers.get("X-ClickHouse-User") or request.query.get("user") or "default"
    password = request.headers.get("X-ClickHouse-Key") or request.query.get("password") or ""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user = ""
    if user != "default" or password:
        text = f"{user}: Authentication failed: password is incorrect, or there is no user with such name"
        raise fault(Code.AUTHENTICATION_FAILED, text)
