"""A role that does not allow one resource to one message of a whole worker: it does not start, or it goes on."""

import json
import time
from pathlib import Path

import pytest

from lab.apiserver import ApiServer
from schemas import flow_batch, topics
from tests.deadline import Eventually
from tests.flow_records import NODES, flow_records, header
from tests.integration.aggregator_world import Worker, World, send
from tests.integration.refusals import PYTHON, refusal
from tests.integration.watched_cluster import ForgetfulStore, Gate, pod, write_kubeconfig

RECORDS = 10
FAILURES = 'kubenetinsight_aggregator_kubernetes_total{kind="status_403",resource="pods"}'


pytestmark = pytest.mark.parametrize("kafka", ["embedded"], indirect=True)
"""It does not depend on which Kafka it is."""


def kubernetes(gate: Gate, directory: Path) -> dict[str, str]:
    kubeconfig = write_kubeconfig(directory / "config", gate.address)
    return {"KNI_KUBERNETES": "kubeconfig", "KUBECONFIG": kubeconfig}


def forbidden(name: str, gate: Gate, *, directory: Path) -> str:
    """What is said of a resource that the role does not allow."""
    return (
        f"Kubernetes at {gate.address} (from {directory}/config) does not let us see {name} "
        f'(403: {name} is forbidden: User "lab" cannot list resource "{name}"): '
        f"allow the verbs list and watch on {name} in all namespaces (a ClusterRole)."
    )


def said(worker: Worker, event: str) -> list[dict[str, str]]:
    """The lines of the log that tell of an event."""
    lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def failures(worker: Worker) -> float:
    """How often the list or watch of pods was forbidden."""
    values = [line.removeprefix(FAILURES) for line in worker.answer("/metrics").splitlines() if FAILURES in line]
    return sum(map(float, values))


def test_a_role_without_one_resource_is_told_at_the_start(
    world: World, server: ApiServer, gate: Gate, *, tmp_path: Path
) -> None:
    server.forbidden = frozenset({"replicasets"})
    settings = world.environment(KNI_AGGREGATOR_LISTEN="127.0.0.1:0", **kubernetes(gate, tmp_path))
    message = refusal((*PYTHON, "cli", "aggregator"), settings)
    assert message == f"kubenetinsight aggregator: {forbidden('replicasets', gate, directory=tmp_path)}"


def test_a_role_that_loses_a_resource_is_told_once_and_records_are_stored_on(
    world: World, objects: ForgetfulStore, server: ApiServer, gate: Gate, *, tmp_path: Path, eventually: Eventually
) -> None:
    objects.put(pod("a"))
    worker = world.start_worker(**kubernetes(gate, tmp_path))
    eventually(lambda: worker.answer("/readyz") == "ok\n", within_seconds=30)
    server.forbidden = frozenset({"pods"})
    objects.delete_unheard(pod("a"))  # the watch of pods has to list anew
    eventually(lambda: failures(worker) >= 2, within_seconds=30)
    now_ns = time.time_ns()
    batch = flow_batch.write_batch(flow_records(RECORDS, seed=1, end_ns=now_ns), header(0, at_ns=now_ns))
    send(world.bootstrap, topics.FLOWS, [(NODES[0], batch)])
    world.wait_stored(1)
    assert (worker.answer("/readyz"), worker.answer("/healthz")) == ("ok\n", "ok\n")
    (trouble,) = said(worker, "kubernetes is not followed")
    assert trouble["resource"] == "pods"
    assert trouble["problem"] == forbidden("pods", gate, directory=tmp_path)
    server.forbidden = frozenset()
    eventually(lambda: said(worker, "kubernetes is followed again"), within_seconds=60)
    assert worker.stop() == 0


def test_a_role_that_turns_out_to_lack_a_resource_keeps_the_worker_waiting_until_it_has_it(
    world: World, server: ApiServer, gate: Gate, *, tmp_path: Path, eventually: Eventually
) -> None:
    gate.is_open = False
    worker = world.start_worker(**kubernetes(gate, tmp_path))
    eventually(lambda: worker.answer("/readyz") == "waits for Kubernetes\n", within_seconds=30)
    server.forbidden = frozenset({"pods"})
    gate.is_open = True
    eventually(lambda: failures(worker) >= 1, within_seconds=60)
    assert worker.answer("/readyz") == "waits for Kubernetes\n"
    server.forbidden = frozenset()
    eventually(lambda: worker.answer("/readyz") == "ok\n", within_seconds=60)
    assert worker.stop() == 0
