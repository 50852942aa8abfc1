"""Events to Prometheus metrics: everything that moves, waits, repeats or is lost has a number here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric

    from aggregator.assemble import Range
    from aggregator.write import ClickHouseUnavailableError

PARTITION: Final = ("topic", "partition")
SECONDS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class _WatchCounts(Collector):
    def __init__(self, counts: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """One sample per resource and kind."""
        family = CounterMetricFamily(
            "kubenetinsight_aggregator_kubernetes", "Events, lists, failures of the watch", labels=("resource", "kind")
        )
        for labels, count in self._counts().items():
            family.add_metric(labels, count)
        yield family


class Metrics:
    """The aggregator's own numbers; each starts at 0 with the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.lag = self._gauge("lag", "Messages in Kafka that are not stored", labels=PARTITION)
        self.stored_offset = self._gauge("stored_offset", "Behind the last offset that is stored", labels=PARTITION)
        self.messages = self._counter("messages", "Messages stored", labels=("topic",))
        self.records = self._counter("records", "Records stored", labels=("topic",))
        self.ranges = self._counter("ranges", "Ranges stored", labels=("topic",))
        self.repeated = self._counter(
            "repeated_records", "Records skipped: their positions were stored before", labels=("topic",)
        )
        self.gaps = self._counter("gap_records", "Ring positions that never came", labels=("topic",))
        self.unresolved = self._counter(
            "unresolved_records", "Records with an address that nobody held", labels=("topic",)
        )
        self.dead_letters = self._counter("dead_letters", "Messages that could not be read", labels=("reason",))
        self.lost = self._counter(
            "messages_lost", "Messages that Kafka forgot before they were stored", labels=("topic",)
        )
        self.reforms = self._counter("reformed_ranges", "Ranges formed again from a stated intent", labels=("topic",))
        self.refused = self._counter("commits_refused", "Intents that could not be stated", labels=())
        self.assignments = self._counter("assignments", "Times that the group has given partitions out", labels=())
        self.insert_seconds = Histogram(
            "kubenetinsight_aggregator_insert_seconds",
            "One insert, as long as it took",
            ("table",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.rows = self._counter("rows", "Rows inserted", labels=("table",))
        self.retries = self._counter("insert_retries", "Inserts that had to be tried again", labels=("table", "code"))
        self.windows = self._counter("window_rows_published", "Rows published to the windows topic", labels=("table",))
        self.leader = self._gauge("leader", "1 while this worker publishes windows and identities", labels=())
        self.held_bytes = self._gauge("held_bytes", "Bytes of messages that wait to be stored", labels=())

    def inserted(self, table: str, *, rows: int, seconds: float) -> None:
        """A block is stored."""
        self.insert_seconds.labels(table).observe(seconds)
        self.rows.labels(table).inc(rows)

    def retried(self, table: str, error: ClickHouseUnavailableError) -> None:
        """A block will be tried again."""
        self.retries.labels(table, error.code).inc()

    def stored(self, done: Range) -> None:
        """A range is stored."""
        topic, decoded = done.place.topic, done.decoded
        self.ranges.labels(topic).inc()
        self.messages.labels(topic).inc(len(decoded.links) + len(decoded.unreadable))
        self.records.labels(topic).inc(decoded.records.num_rows)
        self.repeated.labels(topic).inc(sum(link.repeated for link in decoded.links))
        self.gaps.labels(topic).inc(sum(link.gap for link in decoded.links))
        self.unresolved.labels(topic).inc(int(done.identified.unresolved.sum()))
        for letter in decoded.unreadable:
            self.dead_letters.labels(letter.reason).inc()

    def follow_watch(self, counts: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """What the watch of Kubernetes counts, by resource and kind, is read whenever metrics are."""
        self.registry.register(_WatchCounts(counts))

    def exposition(self) -> bytes:
        """All of them as Prometheus reads them."""
        return bytes(generate_latest(self.registry))

    def _counter(self, name: str, meaning: str, *, labels: tuple[str, ...]) -> Counter:
        return Counter(f"kubenetinsight_aggregator_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *, labels: tuple[str, ...]) -> Gauge:
        return Gauge(f"kubenetinsight_aggregator_{name}", meaning, labels, registry=self.registry)
