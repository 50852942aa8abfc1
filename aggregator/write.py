"""Rows to ClickHouse: one block per insert under a token that makes repeating it harmless.

What cannot be written now is tried again in place, with growing pauses, until it can or the range is no longer ours:
nothing is skipped, so nothing needs to be found again. The caller's queue fills meanwhile, and Kafka waits.
"""

from __future__ import annotations

import logging
import threading
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError

from aggregator.native import to_native

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pyarrow as pa
    from clickhouse_connect.driver.client import Client

    from aggregator.settings import Settings

for _library in ("clickhouse_connect", "urllib3.connectionpool"):
    logging.getLogger(_library).setLevel(logging.CRITICAL)  # they say on their own what Outages says better

INSERT_SETTINGS: Final = {
    "async_insert": 0,  # a server's default: it would answer before the rows are stored
    "insert_deduplicate": 1,
    "optimize_on_insert": 0,  # merges add partial aggregates up; doing it at once costs more than the insert itself
}
PAUSE_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Between attempts; the last one repeats."""
CONNECT_SECONDS: Final = 5
ANSWER_SECONDS: Final = 20
"""An insert that takes longer is tried again; the token makes that harmless."""

UNREACHABLE: Final = "unreachable"

Result = TypeVar("Result")


class ClickHouseUnavailableError(Exception):
    """ClickHouse did not answer, or refused; `code` is its error code, or unreachable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class AbandonedError(Exception):
    """The range belongs to somebody else by now, or this worker stops: whoever has it forms it again."""


class Insert(NamedTuple):
    """One block for one table."""

    table: str
    rows: pa.Table
    token: str


class Observer(Protocol):
    """Who hears of inserts."""

    def inserted(self, table: str, *, rows: int, seconds: float) -> None:
        """A block is stored."""

    def retried(self, table: str, error: ClickHouseUnavailableError) -> None:
        """A block will be tried again."""


class ClickHouse:
    """ClickHouse's HTTP interface; usable from any number of threads, a connection for each."""

    def __init__(self, settings: Settings, *, database: str | None = None) -> None:
        """`database`: instead of the one in the settings, which may not exist yet."""
        self._settings = settings
        self._database = settings.clickhouse_database if database is None else database
        self._local = threading.local()

    def insert(self, block: Insert) -> None:
        """Store a block, unless one with the same token was stored before. Raises: ClickHouseUnavailableError."""
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": block.token}
        names, rows = block.rows.column_names, to_native(block.rows)
        self._call(lambda client: client.raw_insert(block.table, names, rows, settings=settings, fmt="Native"))

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        """The answer to a SELECT. Raises: ClickHouseUnavailableError."""
        return self._call(lambda client: client.query_arrow(sql, parameters=dict(parameters or {})))

    def lines(self, sql: str, parameters: Mapping[str, object]) -> list[bytes]:
        """The answer to a SELECT, a JSON object per row. Raises: ClickHouseUnavailableError."""
        settings = {"output_format_json_quote_64bit_integers": 0}
        found = self._call(
            lambda client: client.raw_query(sql, parameters=dict(parameters), settings=settings, fmt="JSONEachRow")
        )
        return found.splitlines()

    def command(self, sql: str) -> None:
        """Run a statement that answers nothing. Raises: ClickHouseUnavailableError."""
        self._call(lambda client: client.command(sql))

    def _call(self, work: Callable[[Client], Result]) -> Result:
        try:
            if not hasattr(self._local, "client"):
                self._local.client = self._connect()
            return work(self._local.client)
        except ClickHouseError as error:
            code = getattr(error, "code", None)
            raise ClickHouseUnavailableError(str(code or UNREACHABLE), str(error)[:500]) from error

    def _connect(self) -> Client:
        return clickhouse_connect.get_client(
            dsn=self._settings.clickhouse,
            database=self._database,
            username=self._settings.clickhouse_user,
            password=self._settings.clickhouse_password,
            compress=False,
            autogenerate_session_id=False,
            connect_timeout=CONNECT_SECONDS,
            send_receive_timeout=ANSWER_SECONDS,
        )


class Writer:
    """Blocks to ClickHouse, in order, each until it is stored."""

    def __init__(self, clickhouse: ClickHouse, observer: Observer, *, clock: Callable[[], float]) -> None:
        """`clock`: monotonic seconds."""
        self._clickhouse = clickhouse
        self._observer = observer
        self._clock = clock

    def write(self, blocks: Iterable[Insert], *, check: Callable[[], None], pause: Callable[[float], object]) -> None:
        """Store each block before the next one begins.

        `check` is called before every attempt and raises AbandonedError when the range is not ours any more; `pause`
        waits.
        """
        for block in blocks:
            if block.rows.num_rows:
                self._until_stored(block, check, pause=pause)

    def _until_stored(self, block: Insert, check: Callable[[], None], *, pause: Callable[[float], object]) -> None:
        for seconds in chain(PAUSE_SECONDS, repeat(PAUSE_SECONDS[-1])):
            check()
            started = self._clock()
            try:
                self._clickhouse.insert(block)
            except ClickHouseUnavailableError as error:
                self._observer.retried(block.table, error)
                pause(seconds)
            else:
                self._observer.inserted(block.table, rows=block.rows.num_rows, seconds=self._clock() - started)
                return
