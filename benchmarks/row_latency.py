"""A flow record's `time_end` to its row in ClickHouse, at 30,000 records a second; and what the worker needs meanwhile.

Every batch's records end when it is made, and the row counts from the moment a SELECT sees its batch in `completeness`,
which is stored last. The baseline is the flush interval: a record waits half of it on average before anything happens.
"""

import sys
import threading
import time

import numpy as np
from confluent_kafka import Producer

from benchmarks.aggregator_run import Run, aggregator_run, cpu_seconds, resident_mb
from benchmarks.cluster_records import ended_at, message, records_of
from benchmarks.figures import Figure, show
from schemas import topics
from tests.deadline import eventually

NODES = 30
RECORDS = 1_000
RATE = 30_000
SECONDS = 15
FLUSH_SECONDS = 1.0
LOOK_SECONDS = 0.1
"""Between two looks: as much as this is in every figure, and looking more often would keep ClickHouse busy."""
WARM_UP = 3.0
"""Seconds that are not measured: the first fetch, the first insert into each table."""

_SEEN = """
SELECT node, next, toUnixTimestamp64Nano(created) FROM completeness WHERE at > now() - INTERVAL 10 SECOND
"""


def main() -> int:
    """Measure and print."""
    with aggregator_run() as run:
        worker = run.start_worker()
        eventually(lambda: worker.metric("kubenetinsight_aggregator_assignments_total"), within_seconds=30)
        begun, used = time.monotonic(), cpu_seconds(worker.process.pid)
        latencies = measure(run)
        used = cpu_seconds(worker.process.pid) - used
        seconds, memory = time.monotonic() - begun, resident_mb(worker.process.pid)
    half, most = (float(np.percentile(latencies, q)) for q in (50, 99))
    show(
        f"From a record's end to its row: {RATE:,} records/s, {RECORDS:,} a message, {len(latencies)} batches",
        [
            Figure(name="p50", value=half, unit="s", baseline=FLUSH_SECONDS, baseline_name="flush interval"),
            Figure(name="p99", value=most, unit="s", at_most=3, baseline=FLUSH_SECONDS, baseline_name="flush interval"),
            Figure(name="worker's share of a core", value=used / seconds * 100, unit="%"),
            Figure(name="worker's resident memory", value=memory, unit="MB"),
        ],
    )
    return 0


def measure(run: Run) -> list[float]:
    """Seconds from a batch's records' end to its being visible, for each batch but the first ones."""
    sender = threading.Thread(target=send_for, args=(run.broker.bootstrap, SECONDS), daemon=True)
    begun_ns = time.time_ns()
    sender.start()
    seen: dict[tuple[str, int], float] = {}
    deadline = time.monotonic() + SECONDS + 30
    while len(seen) < SECONDS * RATE // RECORDS:
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {len(seen)} batches were stored")
        rows, now_ns = run.world.query(_SEEN), time.time_ns()
        for node, following, created_ns in rows:
            is_warm = created_ns >= begun_ns + WARM_UP * 1e9
            seen.setdefault((node, following), (now_ns - created_ns) / 1e9 if is_warm else -1.0)
        time.sleep(LOOK_SECONDS)
    sender.join()
    return [seconds for seconds in seen.values() if seconds >= 0]


def send_for(bootstrap: str, seconds: int) -> None:
    """Batches of all nodes by turns, at the rate."""
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": "zstd", "linger.ms": 5})
    pool = [records_of(node, RECORDS, seed=1, end_ns=time.time_ns()) for node in range(NODES)]
    pause, begun = threading.Event(), time.monotonic()
    for number in range(seconds * RATE // RECORDS):
        turn, node = divmod(number, NODES)
        now_ns = time.time_ns()
        key, value = message(node, ended_at(pool[node], now_ns), first=turn * RECORDS, at_ns=now_ns)
        producer.produce(topics.FLOWS, value, key)
        producer.poll(0)
        pause.wait(max(begun + (number + 1) * RECORDS / RATE - time.monotonic(), 0))
    producer.flush(20)


if __name__ == "__main__":
    sys.exit(main())
