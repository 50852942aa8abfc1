"""Flow records in Kafka to rows in ClickHouse: records per second and core, the worker alone and with ClickHouse.

The worker has joined the group and rests, and so does ClickHouse with its tables; then the worker is stopped (SIGSTOP)
while the backlog is sent, so it is never the producer that is measured. From the moment it goes on, processor time of
all threads is counted: of the worker until everything is stored, of ClickHouse (the embedded one, with its HTTP server)
until no merge has run for a while. The cores are shared with the broker, which is not counted. The baseline decodes
the same messages in this process, and nothing else.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable
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
ROUNDS = 12
RECORDS = 2_000
TOTAL = NODES * ROUNDS * RECORDS
LOOK_SECONDS = 0.5
"""Between two looks: each costs ClickHouse as much as some thousand records."""
QUIET_LOOKS = 3
"""So many looks without a merge, and the merges rest."""


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
        worker, together = measure(run, backlog)
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


def measure(run: Run, backlog: list[tuple[str, bytes]]) -> tuple[float, float]:
    """Processor seconds for the whole backlog: of the worker, and of worker and ClickHouse until merges rest."""
    worker, store = run.start_worker(), run.store.process.pid
    eventually(lambda: worker.metric("kubenetinsight_aggregator_assignments_total"), within_seconds=30)
    until_quiet(lambda: cpu_seconds(store))
    worker.process.send_signal(signal.SIGSTOP)
    send(run.broker.bootstrap, topics.FLOWS, backlog)
    begun, begun_store = cpu_seconds(worker.process.pid), cpu_seconds(store)
    worker.process.send_signal(signal.SIGCONT)
    wait_until(lambda: run.world.stored_messages() >= NODES * ROUNDS)
    used = cpu_seconds(worker.process.pid) - begun
    eventually(lambda: run.world.count("SELECT count() FROM flows") == TOTAL, within_seconds=1)
    worker.stop()
    until_quiet(lambda: run.world.count("SELECT count() + sum(rows_read) FROM system.merges"))
    return used, used + cpu_seconds(store) - begun_store


def wait_until(is_so: Callable[[], bool]) -> None:
    """Look now and then."""
    pause, deadline = threading.Event(), time.monotonic() + 60
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError("the backlog was not stored in time")
        pause.wait(LOOK_SECONDS)


def until_quiet(look: Callable[[], float]) -> None:
    """Wait until some looks in a row have seen the same."""
    seen: list[float] = []

    def is_quiet() -> bool:
        seen.append(look())
        return len(seen) > QUIET_LOOKS and len(set(seen[-QUIET_LOOKS:])) == 1

    wait_until(is_quiet)


def decode_seconds(values: list[bytes], now_ns: int) -> float:
    """Processor seconds to decode all messages, thirty at a time."""
    begun = time.process_time()
    for start in range(0, len(values), NODES):
        messages = [Message(offset, value, now_ns) for offset, value in zip(count(), values[start : start + NODES])]
        decode(topics.FLOWS, messages, marks={}, now_ns=now_ns)
    return time.process_time() - begun


if __name__ == "__main__":
    sys.exit(main())
