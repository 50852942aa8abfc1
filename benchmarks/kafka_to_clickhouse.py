"""Flow records in Kafka to rows in ClickHouse: records per second and core, the worker alone and with ClickHouse.

The backlog is there before the worker starts, so it is never the producer that is measured. Processor time is what
counts: the cores are shared with the broker. The baseline decodes the same messages in this process, and nothing else.
"""

import sys
import time
from itertools import count

from aggregator.decode import Message, decode
from benchmarks.aggregator_run import Run, aggregator_run, cpu_seconds
from benchmarks.cluster_records import message, records_of
from benchmarks.figures import Figure, show
from schemas import topics
from tests.deadline import eventually
from tests.integration.aggregator_world import send

NOT_YET_NS = 200 * 10**9
"""Records end so far ahead (nodes' clocks may be): their windows are not closed yet, and nothing is published."""
NODES = 30
ROUNDS = 8
RECORDS = 2_000
TOTAL = NODES * ROUNDS * RECORDS


def main() -> int:
    """Measure and print."""
    now_ns = time.time_ns() + NOT_YET_NS
    backlog = [
        message(node, records_of(node, RECORDS, seed=n, end_ns=now_ns), first=n * RECORDS, at_ns=now_ns)
        for n in range(ROUNDS)
        for node in range(NODES)
    ]
    decoding = decode_seconds([value for _, value in backlog], now_ns)
    with aggregator_run() as run:
        send(run.broker.bootstrap, topics.FLOWS, backlog)
        worker, together = measure(run)
    baseline = TOTAL / decoding
    show(
        f"Kafka to ClickHouse: {TOTAL:,} flow records, {RECORDS:,} a message, 5,000 pods",
        [
            Figure(
                name="worker",
                value=TOTAL / worker,
                unit="records/s/core",
                at_least=500_000,
                baseline=baseline,
                baseline_name="decode only",
            ),
            Figure(
                name="worker and ClickHouse, merges included",
                value=TOTAL / together,
                unit="records/s/core",
                at_least=250_000,
                baseline=baseline,
                baseline_name="decode only",
            ),
        ],
    )
    return 0


def measure(run: Run) -> tuple[float, float]:
    """Processor seconds for the whole backlog: of the worker, and of worker and ClickHouse until merges rest."""
    before = cpu_seconds(run.store.process.pid)
    worker = run.start_worker()
    eventually(lambda: worker.metric("kubenetinsight_aggregator_assignments_total"), within_seconds=30)
    begun = cpu_seconds(worker.process.pid)
    run.world.wait_stored(NODES * ROUNDS, within_seconds=60)
    used = cpu_seconds(worker.process.pid) - begun
    eventually(lambda: run.world.count("SELECT count() FROM flows") == TOTAL, within_seconds=1)
    worker.stop()
    eventually(lambda: not run.world.count("SELECT count() FROM system.merges"), within_seconds=30)
    return used, used + cpu_seconds(run.store.process.pid) - before


def decode_seconds(values: list[bytes], now_ns: int) -> float:
    """Processor seconds to decode all messages, thirty at a time."""
    begun = time.process_time()
    for start in range(0, len(values), NODES):
        messages = [Message(offset, value, now_ns) for offset, value in zip(count(), values[start : start + NODES])]
        decode(topics.FLOWS, messages, marks={}, now_ns=now_ns)
    return time.process_time() - begun


if __name__ == "__main__":
    sys.exit(main())
