"""Leadership to its duties: identities to ClickHouse, closed windows to Kafka, by one worker at a time.

Both may be done twice without harm, so a change of leaders needs no ceremony.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import structlog

from aggregator.kafka import KafkaUnavailableError
from aggregator.publish_windows import WindowPublisher
from aggregator.write import AbandonedError, ClickHouseUnavailableError, Insert

if TYPE_CHECKING:
    from collections.abc import Callable

    from aggregator.app import Aggregator
    from aggregator.kafka import Publisher
    from aggregator.metrics import Metrics
    from aggregator.service import Worker
    from aggregator.write import ClickHouse

TICK_SECONDS: Final = 1.0


class Leader:
    """One term of leadership."""

    def __init__(self, clickhouse: ClickHouse, publisher: Publisher, *, metrics: Metrics, now_ns: int) -> None:
        self._clickhouse = clickhouse
        self._metrics = metrics
        self._windows = WindowPublisher(clickhouse, publisher, now_ns=now_ns)

    def store_identities(self, rows: pa.RecordBatch, now_ns: int) -> None:
        """Store changed leases. Raises: ClickHouseUnavailableError."""
        if rows.num_rows:
            self._clickhouse.insert(Insert("identities", pa.Table.from_batches([rows]), f"identities:{now_ns}"))

    def publish_windows(self, now_ns: int, *, check: Callable[[], None]) -> None:
        """Publish closed windows. Raises: ClickHouseUnavailableError, KafkaUnavailableError, what `check` raises."""
        for table, rows in self._windows.publish_due(now_ns, check=check).items():
            self._metrics.windows.labels(table).inc(rows)


async def lead(worker: Worker) -> None:
    """Do what the leader does, whenever this worker is it."""
    leader: Leader | None = None
    while True:
        await asyncio.sleep(TICK_SECONDS)
        worker.metrics.leader.set(worker.aggregator.is_leader)
        if not worker.aggregator.is_leader:
            leader = None
            continue
        now_ns = worker.clocks.now_ns()
        leader = leader or Leader(worker.clickhouse, worker.publisher, metrics=worker.metrics, now_ns=now_ns)
        try:
            rows = worker.identities.changed_rows()
            await asyncio.to_thread(leader.store_identities, rows, now_ns)
            worker.identities.confirm_rows()
            await asyncio.to_thread(leader.publish_windows, now_ns, check=partial(_check_leader, worker.aggregator))
        except (AbandonedError, ClickHouseUnavailableError, KafkaUnavailableError) as error:
            structlog.get_logger().warning("the leader tries again", problem=str(error))


def _check_leader(aggregator: Aggregator) -> None:
    if not aggregator.is_leader:
        raise AbandonedError
