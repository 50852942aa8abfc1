"""Statements to answers: the one place that knows chdb, ClickHouse's engine as a library.

A connection of the engine is a session: settings, current database and temporary tables belong to it. Opening one takes
0.3 ms, so each statement gets a fresh one and nothing leaks from one request into the next; only a named session keeps
its connection. The caller owns the data directory.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import chdb

from standalone.address import UsageError
from standalone.clickhouse_errors import Code, fault, to_database_error
from standalone.clickhouse_protocol import Counts, hello_block
from standalone.clickhouse_sql import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from standalone.clickhouse_protocol import Statement
    from standalone.clickhouse_sql import Insert

MOST_SESSIONS = 100
# The engine can read variables of the Python program that embeds it: never for a statement from outside.
FIXED_SETTINGS = {"allow_python_table_function": "0"}


class Answer(NamedTuple):
    """The bytes of a result in the format that was asked for."""

    body: bytes
    counts: Counts


class Session:
    """A connection that outlives a request; its lock says that a statement runs."""

    def __init__(self, connection: Any, deadline: float) -> None:
        self.connection = connection
        self.deadline = deadline
        self.lock = threading.Lock()


class Engine:
    """ClickHouse's engine on a data directory; any number of threads may call `run`.

    Raises:
        UsageError: the engine cannot use the directory.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._sessions_lock = threading.Lock()
        try:
            self._anchor = self._connect()  # the engine lives as long as one connection is open
        except RuntimeError as error:
            raise UsageError(
                f"ClickHouse's engine cannot use the data directory {directory}: {error}. "
                "Choose another with --data, or move this one away"
            ) from error
        self.timezone, self.version, self.display_name = self._facts()

    def run(self, statement: Statement) -> Answer:
        """The statement's answer, whole.

        Raises:
            DatabaseError: what the engine says is wrong, in ClickHouse's words.
        """
        if statement.wants_hello:
            hello = hello_block(display_name=self.display_name, version=self.version, timezone=self.timezone)
            return Answer(hello, Counts(result_rows=1))
        with self._connection(statement) as connection:
            try:
                return _execute(connection, statement)
            except RuntimeError as error:
                raise to_database_error(str(error)) from error

    def close(self) -> None:
        """Let the engine go: what is acknowledged is on disk."""
        for session in self._sessions.values():
            session.connection.close()
        self._sessions.clear()
        self._anchor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _facts(self) -> tuple[str, str, str]:
        row = self._anchor.query("SELECT timezone(), version(), displayName()", "TSVRaw").bytes().decode()
        timezone, version, display_name = row.rstrip("\n").split("\t")
        return timezone, version, display_name

    def _connect(self) -> Any:
        return chdb.connect(str(self._directory))  # type: ignore[no-untyped-call]

    @contextmanager
    def _connection(self, statement: Statement) -> Iterator[Any]:
        if statement.session is None:
            connection = self._connect()
            try:
                yield connection
            finally:
                connection.close()
            return
        session = self._session(statement, statement.session)
        if not session.lock.acquire(blocking=False):
            text = f"Session {statement.session} is locked by a concurrent client"
            raise fault(Code.SESSION_IS_LOCKED, text)
        try:
            with _settings_put_back(session.connection, statement):
                yield session.connection
        finally:
            session.deadline = self._clock() + statement.session_seconds
            session.lock.release()

    def _session(self, statement: Statement, name: str) -> Session:
        with self._sessions_lock:
            self._forget_old_sessions()
            session = self._sessions.get(name)
            if session is None:
                if statement.session_must_exist:
                    raise fault(Code.SESSION_NOT_FOUND, f"Session {name} not found")
                session = Session(self._connect(), self._clock() + statement.session_seconds)
                self._sessions[name] = session
            return session

    def _forget_old_sessions(self) -> None:
        """Close what timed out, and the oldest ones that leave no room for one more."""
        now = self._clock()
        idle = sorted((kept.deadline, name) for name, kept in self._sessions.items() if not kept.lock.locked())
        surplus = len(self._sessions) + 1 - MOST_SESSIONS
        for place, (deadline, name) in enumerate(idle):
            if deadline < now or place < surplus:
                self._sessions.pop(name).connection.close()


@contextmanager
def _settings_put_back(connection: Any, statement: Statement) -> Iterator[None]:
    """What one request of a session sets holds for that request only."""
    listed = ", ".join(quoted(name) for name in statement.settings)
    before = f"SELECT name, if(changed, value, NULL) FROM system.settings WHERE name IN ({listed})"  # noqa: S608 - quoted
    rows = json.loads(connection.query(before, "JSONCompact").bytes())["data"] if listed else []
    yield
    for name, value in rows:
        connection.query(f"SET {name} = {'DEFAULT' if value is None else quoted(value)}")


def _execute(connection: Any, statement: Statement) -> Answer:
    if statement.database is not None:
        connection.query("USE `" + statement.database.replace("\\", "\\\\").replace("`", "\\`") + "`")
    settings = FIXED_SETTINGS | dict(statement.settings)
    connection.query("SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in settings.items()))
    if statement.insert is not None:
        return _insert(connection, statement.insert, rows=statement.rows)
    result = connection.query(statement.sql, statement.format, params=dict(statement.parameters))
    body = result.bytes() or b""
    counts = Counts(
        read_rows=result.storage_rows_read(),
        read_bytes=result.storage_bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        result_rows=result.rows_read(),
        result_bytes=len(body),
        elapsed_ns=round(result.elapsed() * 1e9),
    )
    return Answer(body, counts)


def _insert(connection: Any, insert: Insert, *, rows: Iterable[bytes | memoryview]) -> Answer:
    """Rows go to the engine as they came; the engine copies each piece once, and no file is written on the way."""
    with connection.send_insert(insert.statement, insert.row_format) as inserter:
        for piece in rows:
            if len(piece):
                inserter.append(piece)
        result = inserter.finish()
    return Answer(b"", Counts(written_rows=result.rows_written, written_bytes=result.bytes_written))
