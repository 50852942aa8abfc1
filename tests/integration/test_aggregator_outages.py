"""Kafka or ClickHouse away, at the start and in the middle, to a worker that waits, says so, and loses nothing."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from schemas import flow_batch, topics
from tests.deadline import Eventually
from tests.flow_records import NODES, flow_records, header
from tests.integration.aggregator_world import Store, World, send
from tests.integration.kafka_broker import Broker, free_ports

RECORDS = 100

either_kafka = pytest.mark.parametrize("kafka", ["embedded"], indirect=True)
"""For what does not depend on which Kafka it is."""


@pytest.fixture(scope="module")
def idle(embedded: str, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A Kafka and tables for starts that come to nothing."""
    made = World(embedded, store.url, tmp_path_factory.mktemp("idle"))
    made.prepare()
    yield made
    made.end()


def send_batch(world: World, number: int) -> None:
    now_ns = time.time_ns()
    batch = flow_batch.write_batch(
        flow_records(RECORDS, seed=number, end_ns=now_ns), header(number * RECORDS, at_ns=now_ns)
    )
    send(world.bootstrap, topics.FLOWS, [(NODES[0], batch)])


def test_a_worker_goes_on_by_itself_when_clickhouse_and_kafka_were_away(
    world: World, kafka: Broker, store: Store, eventually: Eventually
) -> None:
    worker = world.start_worker()
    send_batch(world, 0)
    world.wait_stored(1)
    with store.away():
        send_batch(world, 1)
        assert worker.answer("/healthz") == "ok\n"
    world.wait_stored(2)
    with kafka.away():
        eventually(lambda: worker.answer("/readyz") == "waits for Kafka\n", within_seconds=30)
        assert worker.answer("/healthz") == "Kafka\n"
    send_batch(world, 2)
    world.wait_stored(3)
    eventually(lambda: worker.answer("/readyz") == "ok\n", within_seconds=30)
    assert world.query("SELECT count(), uniqExact(time_end, src_addr, src_port) FROM flows")[0][0] == 3 * RECORDS
    assert world.count("SELECT sum(gap) FROM completeness") == 0
    assert "waits for a server" in worker.log.read_text()
    eventually(lambda: "a server is back" in worker.log.read_text(), within_seconds=10)
    assert worker.stop() == 0


@either_kafka
def test_inserts_that_are_refused_are_tried_again_in_place(world: World, eventually: Eventually) -> None:
    worker = world.start_worker()
    send_batch(world, 0)
    world.wait_stored(1)
    world.query("RENAME TABLE window_latency TO window_latency_away")
    send_batch(world, 1)
    eventually(lambda: worker.metric("kubenetinsight_aggregator_insert_retries_total") > 2, within_seconds=30)
    assert worker.answer("/readyz") == "waits for ClickHouse\n"
    assert world.count("SELECT count() FROM flows") == 2 * RECORDS
    assert world.stored_messages() == 1
    world.query("RENAME TABLE window_latency_away TO window_latency")
    world.wait_stored(2)
    assert world.count("SELECT count() FROM flows") == 2 * RECORDS
    assert "window_latency" in worker.log.read_text()
    assert worker.stop() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"KNI_CLICKHOUSE_DATABASE": "nowhere"}, "run `python -m aggregator schema`"),
        ({"KNI_FLUSH_SECONDS": "soon"}, "KNI_FLUSH_SECONDS is 'soon'"),
        ({"KNI_POD_CIDRS": "10.244.0.0/99"}, "KNI_POD_CIDRS"),
        ({"KNI_KUBERNETES": "kubeconfig", "KUBECONFIG": "/nowhere"}, "/nowhere"),
    ],
    ids=["no tables", "no number", "no range", "no kubeconfig"],
)
def test_a_start_that_cannot_work_ends_in_one_message(idle: World, settings: dict[str, str], message: str) -> None:
    command = [sys.executable, "-m", "aggregator"]
    environment = idle.environment(KNI_AGGREGATOR_LISTEN=f"127.0.0.1:{free_ports(1)[0]}", **settings)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_start_without_a_server_says_that_it_waits(idle: World, eventually: Eventually) -> None:
    (port,) = free_ports(1)
    lonely = replace(idle, bootstrap=f"127.0.0.1:{port}", workers=idle.workers)
    worker = lonely.start_worker()
    eventually(lambda: "waits for a server" in worker.log.read_text(), within_seconds=30)
    assert f"127.0.0.1:{port}" in worker.log.read_text()
    worker.kill()


@either_kafka
@pytest.mark.parametrize("server", ["clickhouse", "kafka"])
def test_a_stop_without_a_server_ends_in_time_and_the_next_worker_goes_on(
    world: World, kafka: Broker, store: Store, server: str, eventually: Eventually
) -> None:
    worker = world.start_worker(KNI_DRAIN_SECONDS="5")
    send_batch(world, 0)
    world.wait_stored(1)
    eventually(lambda: worker.answer("/readyz") == "ok\n", within_seconds=20)
    with store.away() if server == "clickhouse" else kafka.away():
        if server == "clickhouse":
            send_batch(world, 1)
        worker.process.terminate()
        assert worker.process.wait(30) == 1
    assert "the next worker goes on where this one was" in worker.log.read_text()
    if server == "kafka":
        send_batch(world, 1)
    next_worker = world.start_worker()
    world.wait_stored(2)
    assert world.count("SELECT count() FROM flows") == 2 * RECORDS
    assert next_worker.stop() == 0
