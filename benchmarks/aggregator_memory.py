"""The aggregator's resident memory: idle, and at its highest while it works off a backlog as fast as it can.

The baseline is a Python process that has imported the same libraries and does nothing.
"""

import subprocess
import sys
import time

from benchmarks.aggregator_run import aggregator_run, resident_mb
from benchmarks.cluster_records import message, records_of
from benchmarks.figures import Figure, show
from schemas import topics
from tests.deadline import eventually
from tests.integration.aggregator_world import send

NODES = 30
ROUNDS = 5
RECORDS = 2_000
IMPORTS = (
    "import clickhouse_connect, confluent_kafka, faust, kubernetes, numpy, pyarrow; print('.', flush=True); input()"
)


def main() -> int:
    """Measure and print."""
    now_ns = time.time_ns()
    backlog = [
        message(node, records_of(node, RECORDS, seed=n, end_ns=now_ns), first=n * RECORDS, at_ns=now_ns)
        for n in range(ROUNDS)
        for node in range(NODES)
    ]
    alone, name = imported_mb(), "imports alone"
    with aggregator_run() as run:
        worker = run.start_worker()
        eventually(lambda: worker.metric("kubenetinsight_aggregator_assignments_total"), within_seconds=30)
        idle = highest = resident_mb(worker.process.pid)
        send(run.broker.bootstrap, topics.FLOWS, backlog)

        def is_done() -> bool:
            nonlocal highest
            highest = max(highest, resident_mb(worker.process.pid))
            return run.world.stored_messages() >= len(backlog)

        eventually(is_done, within_seconds=60)
    show(
        f"The aggregator's resident memory: backlog of {len(backlog) * RECORDS:,} records, 5,000 pods",
        [
            Figure(name="idle", value=idle, unit="MB", baseline=alone, baseline_name=name),
            Figure(name="highest", value=highest, unit="MB", at_most=600, baseline=alone, baseline_name=name),
        ],
    )
    return 0


def imported_mb() -> float:
    """Resident memory of the libraries alone."""
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError("the libraries cannot be imported")
        return resident_mb(process.pid)
    finally:
        process.communicate("\n")


if __name__ == "__main__":
    sys.exit(main())
