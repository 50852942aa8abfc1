"""Messages to rows, through real workers: what the aggregator's integration tests start, feed, kill and ask."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import clickhouse_connect
import msgspec
from clickhouse_connect.driver.client import Client
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from aggregator.schema import apply_schema
from aggregator.settings import Settings
from schemas import topics
from schemas.windows import LATENCIES
from standalone.processes import Child, stop_together
from standalone.servers import address_in, clickhouse_program
from tests.deadline import eventually
from tests.flow_records import PODS
from tests.integration.kafka_broker import free_ports
from tests.programs import ENDS_WITH_TEST

EDGE = (
    "window, src_namespace, src_workload, src_workload_kind, dst_namespace, dst_workload, dst_workload_kind,"
    " dst_service, protocol, dst_port, reporter, authoritative"
)
DROP = "window, node, reason, call_site, benign, src_namespace, src_workload, dst_namespace, dst_workload, protocol"
COUNTS = "flows packets bytes reverse_packets reverse_bytes connections_opened connections_closed retransmits"
WINDOWS = {
    "window_protocols": (EDGE, ", ".join(f"sum({name}) AS _{name}" for name in COUNTS.split())),
    "window_latency": (
        EDGE,
        ", ".join(
            f"sum({kind}_count), sum({kind}_sum_ns), min({kind}_min_ns), max({kind}_max_ns), sumMap({kind}_histogram)"
            for kind in LATENCIES
        ),
    ),
    "window_drops": (DROP, "sum(packets) AS _packets, sum(bytes) AS _bytes"),
}


@dataclass
class Store:
    """A running ClickHouse."""

    url: str
    process: subprocess.Popen[str]

    @contextmanager
    def away(self) -> Iterator[None]:
        """It does not answer for as long as the block lasts."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def running_store(directory: Path) -> Iterator[Store]:
    """Embedded ClickHouse on a directory."""
    child = Child(clickhouse_program("127.0.0.1:0", directory), None)
    try:
        yield Store(f"http://{address_in(child.wait_ready())}", child.process)
    finally:
        assert stop_together([child]) == []


@dataclass
class Worker:
    """An aggregator process."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    def answer(self, path: str) -> str:
        """What its own port says; empty while it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            return str(error.read().decode())
        except (urllib.error.URLError, OSError):
            return ""

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = self.answer("/metrics").splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(30)


@dataclass
class World:
    """A Kafka, a database of its own in ClickHouse, and any number of workers."""

    bootstrap: str
    store_url: str
    directory: Path
    database: str = field(default_factory=lambda: f"test_{uuid.uuid4().hex[:12]}")
    group: str = field(default_factory=lambda: f"group-{uuid.uuid4().hex[:12]}")
    workers: list[Worker] = field(default_factory=list)
    clickhouse: str = ""
    """What workers connect to, where that is not the store itself."""

    def environment(self, **settings: str) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("KNI_")},
            "KNI_KAFKA": self.bootstrap,
            "KNI_CLICKHOUSE": self.clickhouse or self.store_url,
            "KNI_CLICKHOUSE_DATABASE": self.database,
            "KNI_GROUP": self.group,
            "KNI_KUBERNETES": "none",
            "KNI_GRACE_SECONDS": "0",
            "KNI_FLUSH_SECONDS": "0.2",
            **settings,
        }

    def prepare(self) -> None:
        """Tables, and who holds the pods' addresses."""
        apply_schema(Settings.from_environment(self.environment()))
        rows = [
            (f"::ffff:{address}", f"team-{n % 3}", f"app-{n % 7}", f"app-{n % 7}-{n}", f"node-{n % 6 + 1}", f"uid-{n}")
            for n, address in enumerate(PODS)
        ]
        values = "VALUES('a String, ns String, w String, pod String, node String, uid String', "
        self.query(
            "INSERT INTO identities SELECT toIPv6(a), now() - INTERVAL 1 DAY, toDateTime('2100-01-01'), 'pod', ns, w,"  # noqa: S608
            f" 'Deployment', pod, w, node, 'zone-a', uid, 1 FROM {values}{', '.join(map(str, rows))})"
        )

    def start_worker(self, **settings: str) -> Worker:
        """A worker that has joined the group or is about to."""
        (port,) = free_ports(1)
        log = self.directory / f"worker-{len(self.workers)}-{self.database}.log"
        environment = self.environment(KNI_AGGREGATOR_LISTEN=f"127.0.0.1:{port}", **settings)
        with log.open("w") as output:
            process = subprocess.Popen(
                [*ENDS_WITH_TEST, sys.executable, "-m", "aggregator"],
                env=environment,
                stdout=output,
                stderr=output,
                text=True,
            )
        self.workers.append(Worker(process, port, log))
        return self.workers[-1]

    def query(self, sql: str) -> Sequence[Sequence[Any]]:
        """Rows of an answer."""
        rows: Sequence[Sequence[Any]] = self.client.query(sql).result_rows
        return rows

    @cached_property
    def client(self) -> Client:
        """A connection of the test's own: a new one for every question would keep ClickHouse busy."""
        return clickhouse_connect.get_client(dsn=self.store_url, database=self.database, autogenerate_session_id=False)

    def count(self, sql: str) -> int:
        """The one number of an answer."""
        return int(self.query(sql)[0][0])

    def stored_messages(self) -> int:
        """Messages of ranges that are written whole: to the last block, which has a row for each readable message."""
        return self.count(
            "SELECT least(sum(messages), sum(unreadable) + (SELECT count() FROM completeness)) FROM ingest_log"
        )

    def windows(self) -> dict[str, Sequence[Sequence[Any]]]:
        """The merged rows of all window tables."""
        return {
            table: self.query(f"SELECT {keys}, {values} FROM {table} GROUP BY {keys} ORDER BY ALL")  # noqa: S608
            for table, (keys, values) in WINDOWS.items()
        }

    def wait_stored(self, messages: int, *, within_seconds: float = 40) -> None:
        eventually(lambda: self.stored_messages() >= messages, within_seconds=within_seconds)

    def kill_newest(self) -> None:
        """SIGKILL the worker that was started last; it is not waited for."""
        self.workers[-1].process.kill()

    def end(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()


def send(bootstrap: str, topic: str, messages: Sequence[tuple[str, bytes]]) -> None:
    """Keys and values, delivered when this returns; keys choose the partition."""
    errors: list[object] = []
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 8 << 20, "compression.type": "zstd"})
    for key, value in messages:
        producer.produce(topic, value, key, on_delivery=lambda error, _: errors.append(error) if error else None)
    assert producer.flush(20) == 0
    assert errors == []


def read_all(bootstrap: str, topic: str) -> list[Message]:
    """Every message that the topic holds now, one partition behind the other."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    found: list[Message] = []
    for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
        place = TopicPartition(topic, number, OFFSET_BEGINNING)
        low, high = consumer.get_watermark_offsets(place, timeout=10)
        consumer.assign([place])
        for _ in range(low, high):
            message = consumer.poll(10)
            assert message is not None
            assert message.error() is None
            found.append(message)
    consumer.close()
    return found


def published(bootstrap: str) -> dict[str, dict[str, dict[str, Any]]]:
    """What a consumer of the windows topic ends with: by table and key, the highest revision, at equal ones the last.

    The embedded Kafka forgets: what this gives is what it still holds.
    """
    kept: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for message in read_all(bootstrap, topics.WINDOWS):
        row = msgspec.json.decode(message.value() or b"")
        key = (message.key() or b"").decode()
        before = kept[row["table"]].get(key)
        if before is None or row["revision"] >= before["revision"]:
            kept[row["table"]][key] = row
    return kept
