"""Leadership to its duties: identities to ClickHouse, closed windows to Kafka, by one worker at a time.

Both may be done twice without harm, so a change of leaders needs no ceremony.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa
import structlog

from aggregator.kafka import KafkaUnavailableError
from aggregator.publish_windows import WindowPublisher
from aggregator.write import AbandonedError, ClickHouseUnavailableError, Insert

if TYPE_CHECKING:
    from collections.abc import Callable

    from aggregator.identity.identities import Identities
    from aggregator.kafka import Publisher
    from aggregator.metrics import Metrics
    from aggregator.write import ClickHouse

TICK_SECONDS: Final = 1.0


class Duties(NamedTuple):
    """What a leader tells, and to whom."""

    is_leader: Callable[[], bool]
    """Is this worker the leader now?"""
    identities: Identities
    clickhouse: ClickHouse
    publisher: Publisher
    metrics: Metrics
    now_ns: Callable[[], int]
    """Unix time."""


class Leader:
    """One term of leadership."""

    def __init__(self, duties: Duties) -> None:
        self._duties = duties
        self._windows = WindowPublisher(duties.clickhouse, duties.publisher, now_ns=duties.now_ns())

    def store_identities(self, rows: pa.RecordBatch) -> None:
        """Store changed leases. Raises: ClickHouseUnavailableError."""
        if rows.num_rows:
            token = f"identities:{self._duties.now_ns()}"
            self._duties.clickhouse.insert(Insert("identities", pa.Table.from_batches([rows]), token))

    def publish_windows(self) -> None:
        """Publish closed windows. Raises: AbandonedError, ClickHouseUnavailableError, KafkaUnavailableError."""
        published = self._windows.publish_due(self._duties.now_ns(), check=self._check)
        for table, rows in published.items():
            self._duties.metrics.windows.labels(table).inc(rows)

    def _check(self) -> None:
        if not self._duties.is_leader():
            raise AbandonedError


async def lead(duties: Duties) -> None:
    """Do what the leader does, whenever this worker is it."""
    leader: Leader | None = None
    while True:
        await asyncio.sleep(TICK_SECONDS)
        duties.metrics.leader.set(duties.is_leader())
        if not duties.is_leader():
            leader = None
            continue
        leader = leader or Leader(duties)
        try:
            rows = duties.identities.changed_rows()
            await asyncio.to_thread(leader.store_identities, rows)
            duties.identities.confirm_rows()
            await asyncio.to_thread(leader.publish_windows)
        except (AbandonedError, ClickHouseUnavailableError, KafkaUnavailableError) as error:
            structlog.get_logger().warning("the leader tries again", problem=str(error))
