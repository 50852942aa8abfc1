"""Leadership to its duties: identities to ClickHouse, closed windows to Kafka, by one worker at a time.

Both may be done twice without harm, so a change of leaders needs no ceremony.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from aggregator.publish_windows import WindowPublisher
from aggregator.write import Insert

if TYPE_CHECKING:
    from collections.abc import Callable

    from aggregator.kafka import Publisher
    from aggregator.metrics import Metrics
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
