"""A full disk, a refusing Kubernetes and a Kafka that is not there to one message each, or to work that goes on."""

import socket
import struct
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.apiserver import ApiServer
from lab.store import Store as Objects
from schemas import topics
from standalone.kafka import create_topics
from standalone.servers import embedded_clickhouse
from tests.deadline import Eventually
from tests.integration.aggregator_world import Store, World
from tests.integration.kafka_broker import free_ports
from tests.integration.refusals import PYTHON, refusal
from tests.integration.watched_cluster import TOKEN, write_kubeconfig

DISK = "64m"
LARGE = "INSERT INTO t SELECT randomString(1000) FROM numbers(16000)"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def ask(url: str, sql: str) -> str:
    """The answer, or the error in ClickHouse's words."""
    try:
        with urllib.request.urlopen(url, data=sql.encode(), timeout=30) as answer:  # noqa: S310 - an address of ours
            return str(answer.read().decode()).strip()
    except urllib.error.HTTPError as error:
        return str(error.read().decode()).strip()


def test_a_full_disk_refuses_rows_and_keeps_those_it_has_and_takes_more_when_there_is_room(small_disk: Path) -> None:
    with embedded_clickhouse(small_disk / "data") as url:
        assert ask(url, "CREATE TABLE t (a String CODEC(NONE)) ENGINE = MergeTree ORDER BY tuple()") == ""
        answers = [ask(url, LARGE) for _ in range(5)]
        stored = answers.count("")
        assert 0 < stored < 5
        assert all(
            answer.startswith("Code: 243. DB::Exception: Cannot reserve ") and answer.endswith("(NOT_ENOUGH_SPACE)")
            for answer in answers
            if answer
        )
        assert ask(url, "SELECT count() FROM t") == str(16_000 * stored)
        assert ask(url, "TRUNCATE TABLE t") == ""
        assert ask(url, LARGE) == ""
        assert ask(url, "SELECT count() FROM t") == "16000"
    with embedded_clickhouse(small_disk / "data") as url:
        assert ask(url, "SELECT count() FROM t") == "16000"


@pytest.fixture
def world(embedded: str, store: Store, tmp_path: Path) -> Iterator[World]:
    """An embedded Kafka with topics, and tables."""
    create_topics(embedded, topics.ALL)
    made = World(embedded, store.url, tmp_path)
    made.prepare()
    yield made
    made.end()


def test_a_kubernetes_that_refuses_is_told_at_the_start(world: World, tmp_path: Path) -> None:
    server = ApiServer(Objects(), TOKEN, clock=lambda: 0.0)
    with server.serving():
        kubeconfig = write_kubeconfig(tmp_path / "config", server.address, token="another")
        settings = world.environment(
            KNI_KUBERNETES="kubeconfig", KUBECONFIG=kubeconfig, KNI_AGGREGATOR_LISTEN="127.0.0.1:0"
        )
        said = refusal((*PYTHON, "cli", "aggregator"), settings)
    assert said.startswith(f"kubenetinsight aggregator: Kubernetes at {server.address} (from {kubeconfig}) does not")
    assert "does not accept our credentials (401: Unauthorized): renew the token or kubeconfig" in said


def test_a_kubernetes_that_is_away_is_waited_for_by_name(
    world: World, tmp_path: Path, *, eventually: Eventually
) -> None:
    address = f"http://127.0.0.1:{free_ports(1)[0]}"
    kubeconfig = write_kubeconfig(tmp_path / "config", address)
    worker = world.start_worker(KNI_KUBERNETES="kubeconfig", KUBECONFIG=kubeconfig)
    eventually(lambda: f"{address} (from {kubeconfig}) does not answer" in worker.log.read_text(), within_seconds=30)
    eventually(lambda: worker.answer("/readyz") == "waits for Kubernetes\n", within_seconds=30)
    assert worker.process.poll() is None
    assert worker.stop() == 0
    assert "Traceback" not in worker.log.read_text()


def test_a_given_kafka_that_does_not_answer_ends_up_with_its_address(tmp_path: Path, store: Store) -> None:
    command = (*PYTHON, "cli", "up", "--kafka", "127.0.0.1:1", "--clickhouse", store.url, "--data", str(tmp_path))
    said = refusal(command, {"KNI_UPLINKS": "", "KNI_PODS": ""})
    assert "kubenetinsight up: Kafka at 127.0.0.1:1 does not create the topic kubenetinsight.flows" in said
    assert "Check that it runs and that --kafka names its address" in said


def test_an_asker_that_hangs_up_is_no_error(world: World, eventually: Eventually) -> None:
    worker = world.start_worker()
    eventually(lambda: worker.answer("/metrics"), within_seconds=30)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", worker.port)) as asker:
            asker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            asker.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    assert "kubenetinsight_aggregator_leader" in worker.answer("/metrics")
    assert worker.stop() == 0
    assert "Traceback" not in worker.log.read_text()
