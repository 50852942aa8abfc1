"""Servers to a measured aggregator: a broker, a ClickHouse and one worker, with what each of them used."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cluster_records import lease_statements
from tests.integration.aggregator_world import Store, Worker, World, running_store
from tests.integration.kafka_broker import Broker, apache_broker, renew_topics

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """What a benchmark drives."""

    broker: Broker
    store: Store
    world: World

    def start_worker(self, **settings: str) -> Worker:
        """One worker with its usual flush, a second."""
        return self.world.start_worker(**{"KNI_FLUSH_SECONDS": "1", "KNI_GRACE_SECONDS": "1", **settings})


@contextmanager
def aggregator_run() -> Iterator[Run]:
    """Apache Kafka and ClickHouse with tables and leases."""
    with (
        TemporaryDirectory() as directory,
        running_store(Path(directory) / "data") as store,
        apache_broker(Path(directory)) as broker,
    ):
        renew_topics(broker.bootstrap)
        world = World(broker.bootstrap, store.url, Path(directory))
        world.prepare()
        for statement in lease_statements():
            world.query(statement)
        try:
            yield Run(broker, store, world)
        finally:
            world.end()


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
