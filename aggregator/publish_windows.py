"""Merged window rows in ClickHouse to JSON objects on the topic `kubenetinsight.windows`; the leader's work.

An edge's clients sit on several nodes, so in several workers: what a worker folds is no total, only ClickHouse holds
the merged row. A window is published when its end and the delay have passed, and again whenever a range touches it
afterwards or more of its nodes are complete. The revision, the number of ranges that touched the window, is read before
the rows, so a row never says it is newer than it is. Consumers keep the highest revision, at equal ones the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from aggregator.accounts import PUBLISH_DELAY_NS
from aggregator.fold import DST, PROTOCOL_SUMS, SRC
from schemas.topics import WINDOWS
from schemas.windows import LATENCIES, WINDOW_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aggregator.kafka import Publisher
    from aggregator.write import ClickHouse

LOOK_BACK_SECONDS: Final = 3600
"""Where a new leader begins: publishing again does no harm."""
INCOMPLETE_SECONDS: Final = 900
"""So long an incomplete window is looked at again."""
AGAIN_NS: Final = 10 * 10**9
"""A window is published again so long after the last time at the earliest."""
OVERLAP_SECONDS: Final = 30
"""A range's log row may become visible so long after its own time."""

_EDGE: Final = (
    *(f"src_{name}" for name in SRC),
    *(f"dst_{name}" for name in DST),
    "protocol",
    "dst_port",
    "reporter",
    "authoritative",
)
_QUANTILES: Final = {"p50_ns": 0.5, "p95_ns": 0.95, "p99_ns": 0.99}


class Published(NamedTuple):
    """What a table's rows are published as: the columns of the key, and the SQL of the values."""

    key: tuple[str, ...]
    values: dict[str, str]


def _latency(kind: str) -> dict[str, str]:
    """The values of one kind of latency; what no measurement has is null."""
    histogram = f"sumMap({kind}_histogram)"
    return {
        f"{kind}_count": f"sum({kind}_count)",
        f"{kind}_sum_ns": f"sum({kind}_sum_ns)",
        f"{kind}_min_ns": f"if(sum({kind}_count) = 0, NULL, min({kind}_min_ns))",
        f"{kind}_max_ns": f"if(sum({kind}_count) = 0, NULL, max({kind}_max_ns))",
        **{f"{kind}_{name}": f"latency_quantile_ns({level}, {histogram})" for name, level in _QUANTILES.items()},
        f"{kind}_buckets": f"mapKeys({histogram})",
        f"{kind}_bucket_counts": f"mapValues({histogram})",
    }


TABLES: Final = {
    "window_protocols": Published(_EDGE, {name: f"sum({name})" for name in ("flows", *PROTOCOL_SUMS)}),
    "window_latency": Published(_EDGE, {name: sql for kind in LATENCIES for name, sql in _latency(kind).items()}),
    "window_drops": Published(
        (
            "node",
            "reason",
            "call_site",
            "benign",
            *(f"src_{name}" for name in SRC),
            *(f"dst_{name}" for name in SRC),
            "protocol",
        ),
        {"packets": "sum(packets)", "bytes": "sum(bytes)"},
    ),
}

_TOUCHED: Final = """
SELECT toUnixTimestamp(max(at)) AS newest, groupUniqArrayArray(windows) AS touched
FROM ingest_log WHERE at > toDateTime({since:UInt32})
"""
_REVISIONS: Final = """
SELECT toUnixTimestamp(touched) AS window, uniqExact(topic, topic_id, partition, first) AS revision
FROM ingest_log ARRAY JOIN windows AS touched
WHERE has({windows:Array(UInt32)}, toUnixTimestamp(touched)) AND at > toDateTime({since:UInt32})
GROUP BY touched
"""
_COMPLETE: Final = """
SELECT toUnixTimestamp(window) AS window, avg(complete) AS complete
FROM window_completeness_since(since = toDateTime({first:UInt32}))
WHERE has({windows:Array(UInt32)}, toUnixTimestamp(window))
GROUP BY window
"""


class State(NamedTuple):
    """What a window was last published as."""

    revision: int
    complete: float


class WindowPublisher:
    """Which windows are published, and as what; begins an hour back."""

    def __init__(self, clickhouse: ClickHouse, publisher: Publisher, *, now_ns: int) -> None:
        self._clickhouse = clickhouse
        self._publisher = publisher
        self._cursor = now_ns // 10**9 - LOOK_BACK_SECONDS
        self._pending: set[int] = set()
        self._published: dict[int, State] = {}
        self._published_ns: dict[int, int] = {}

    def publish_due(self, now_ns: int, *, check: Callable[[], None]) -> dict[str, int]:
        """Publish what is due and has changed; the number of rows by table.

        Raises: ClickHouseUnavailableError, KafkaUnavailableError; the same windows are due again then.
        """
        self._look_for_touched()
        now = now_ns // 10**9
        again = {
            window
            for window, state in self._published.items()
            if state.complete < 1 and window > now - INCOMPLETE_SECONDS
        }
        due = [window for window in self._pending | again if self._is_due(window, now_ns)]
        counts = dict.fromkeys(TABLES, 0)
        for window, state in self._states(sorted(due)).items():
            if self._published.get(window) != state:
                for table in TABLES:
                    rows = list(self._rows(table, window, state=state))
                    self._publisher.publish(WINDOWS, rows, check=check)
                    counts[table] += len(rows)
                self._published[window] = state
                self._published_ns[window] = now_ns
        self._pending.difference_update(due)
        self._forget(now - 2 * LOOK_BACK_SECONDS)
        return counts

    def _is_due(self, window: int, now_ns: int) -> bool:
        """Closed for long enough, and not published a moment ago: a backlog touches its windows again and again."""
        is_closed = (window + WINDOW_SECONDS) * 10**9 + PUBLISH_DELAY_NS <= now_ns
        return is_closed and now_ns - self._published_ns.get(window, 0) >= AGAIN_NS

    def _look_for_touched(self) -> None:
        found = self._clickhouse.query(_TOUCHED, {"since": self._cursor - OVERLAP_SECONDS}).to_pylist()[0]
        self._cursor = max(self._cursor, found["newest"])
        self._pending.update(found["touched"])

    def _states(self, windows: list[int]) -> dict[int, State]:
        """Revision and completeness of windows, as of now."""
        if not windows:
            return {}
        since = windows[0] - WINDOW_SECONDS - OVERLAP_SECONDS * 10
        parameters = {"windows": windows, "first": windows[0], "since": since}
        revisions = self._clickhouse.query(_REVISIONS, parameters).to_pylist()
        shares = {row["window"]: row["complete"] for row in self._clickhouse.query(_COMPLETE, parameters).to_pylist()}
        return {row["window"]: State(row["revision"], shares.get(row["window"], 0.0)) for row in revisions}

    def _rows(self, table: str, window: int, *, state: State) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of each row of a window; the key is the object of the table's key columns alone."""
        first_value = f',"{next(iter(TABLES[table].values))}":'.encode()  # in a string its quotes would be escaped
        for line in self._clickhouse.lines(select(table), {"window": window, **state._asdict()}):
            yield line.partition(first_value)[0] + b"}", line

    def _forget(self, before: int) -> None:
        for window in [window for window in self._published if window <= before]:
            del self._published[window], self._published_ns[window]


def select(table: str) -> str:
    """The SQL of a window's merged rows, as they are published. It is made of TABLES alone."""
    keys = ", ".join(TABLES[table].key)
    values = ", ".join(f"{sql} AS {name}_" for name, sql in TABLES[table].values.items())
    named = ", ".join(f"{name}_ AS {name}" for name in TABLES[table].values)
    return (
        f"SELECT '{table}' AS table, formatDateTime(window, '%Y-%m-%dT%H:%i:%SZ') AS window, {keys}, {named},"  # noqa: S608
        " {revision:UInt64} AS revision, {complete:Float64} AS complete"
        f" FROM (SELECT window, {keys}, {values} FROM {table} WHERE window = toDateTime({{window:UInt32}})"
        f" GROUP BY window, {keys})"
    )
