"""Kubernetes' JSON to pods: addresses, ends, owners."""

from typing import Any

import pytest

from aggregator.identity.addresses import to_address
from aggregator.identity.objects import (
    Owner,
    Pod,
    Port,
    ReplicaSet,
    to_workload,
)
from tests.unit.kubernetes_documents import AT, AT_NS, SECOND, owned_by, read_pod


def test_a_pod_in_full() -> None:
    pod = read_pod(
        {
            "nodeName": "node-1",
            "containers": [
                {"name": "a", "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]},
                {"name": "b", "ports": [{"containerPort": 53, "hostPort": 53, "protocol": "UDP"}]},
            ],
        },
        {
            "phase": "Running",
            "startTime": "2026-11-24T08:00:02Z",
            "podIP": "10.244.1.5",
            "podIPs": [{"ip": "10.244.1.5"}, {"ip": "fd00::5"}],
            "containerStatuses": [{"name": "a", "state": {"running": {"startedAt": AT}}}],
        },
        labels={"pod-template-hash": "abc12"},
        ownerReferences=owned_by("ReplicaSet", "web-abc12"),
    )
    assert pod == Pod(
        uid="uid-web-1",
        namespace="shop",
        name="web-1",
        node="node-1",
        addresses=(to_address("10.244.1.5"), to_address("fd00::5")),
        created_ns=AT_NS,
        started_ns=AT_NS + 2 * SECOND,
        is_finished=False,
        ended_by_ns=None,
        owner=Owner("ReplicaSet", "web-abc12", "uid-web-abc12"),
        template_hash="abc12",
        host_ports=(Port(6, 8080), Port(17, 53)),
    )


def test_a_pod_of_nothing_but_its_name_and_nulls() -> None:
    pod = read_pod({"containers": None}, {"podIPs": None, "containerStatuses": None}, labels=None, ownerReferences=None)
    assert (pod.addresses, pod.owner, pod.node, pod.host_ports) == ((), None, "", ())
    assert pod.started_ns == AT_NS


def test_a_pod_on_the_hosts_network_has_neither_addresses_nor_ports_of_its_own() -> None:
    ports = [{"ports": [{"containerPort": 80, "hostPort": 80}]}]
    pod = read_pod({"hostNetwork": True, "containers": ports}, {"podIPs": [{"ip": "192.168.1.1"}]})
    assert (pod.addresses, pod.host_ports) == ((), ())


def terminated(*times: str | None) -> list[dict[str, Any]]:
    return [{"state": {"terminated": {"finishedAt": time}} if time else {"running": {}}} for time in times]


NOT_READY = [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-24T08:00:20Z"}]


@pytest.mark.parametrize(
    ("status", "deletion", "expected"),
    [
        pytest.param({"phase": "Running"}, None, (False, None), id="runs"),
        pytest.param({"phase": "Succeeded"}, None, (True, None), id="ended, nobody says when"),
        pytest.param(
            {"phase": "Succeeded", "containerStatuses": terminated("2026-11-24T08:00:09Z", "2026-11-24T08:00:10Z")},
            None,
            (True, 11),
            id="ended with the second of its last container",
        ),
        pytest.param(
            {"phase": "Failed", "containerStatuses": terminated("2026-11-24T08:00:09Z", None), "conditions": NOT_READY},
            None,
            (True, 21),
            id="ended when it was no longer ready",
        ),
        pytest.param({"phase": "Running"}, "2026-11-24T08:00:30Z", (False, 31), id="to be gone by its deletion time"),
        pytest.param(
            {"phase": "Running", "containerStatuses": terminated("2026-11-24T08:00:09Z")},
            "2026-11-24T08:00:30Z",
            (False, 10),
            id="its containers ended before its deletion time",
        ),
    ],
)
def test_a_pod_says_by_when_it_has_ended(
    status: dict[str, Any], deletion: str | None, expected: tuple[bool, int]
) -> None:
    pod = read_pod({}, status, deletionTimestamp=deletion)
    ended_by = (pod.ended_by_ns - AT_NS) // SECOND if pod.ended_by_ns else None
    assert (pod.is_finished, ended_by) == expected


CHAINS = [
    pytest.param(None, "", {}, ("Pod", "web-1"), id="a bare pod"),
    pytest.param(
        ("ReplicaSet", "web-abc12"), "abc12", {}, ("Deployment", "web"), id="a Deployment, by its template hash"
    ),
    pytest.param(("ReplicaSet", "web-abc12"), "", {}, ("ReplicaSet", "web-abc12"), id="a ReplicaSet without a hash"),
    pytest.param(
        ("ReplicaSet", "web-abc12"),
        "abc12",
        {"uid-web-abc12": Owner("Rollout", "web", "uid-web")},
        ("Rollout", "web"),
        id="what the ReplicaSet says, over its name",
    ),
    pytest.param(
        ("ReplicaSet", "web-abc12"),
        "abc12",
        {"uid-web-abc12": None},
        ("ReplicaSet", "web-abc12"),
        id="nobody's ReplicaSet",
    ),
    pytest.param(("StatefulSet", "db"), "", {}, ("StatefulSet", "db"), id="a StatefulSet"),
    pytest.param(("DaemonSet", "log"), "abc12", {}, ("DaemonSet", "log"), id="a DaemonSet"),
    pytest.param(("Job", "backup-29925120"), "", {}, ("CronJob", "backup"), id="a CronJob, by the minute of its run"),
    pytest.param(("Job", "backup-1"), "", {}, ("Job", "backup-1"), id="a Job with a short number"),
    pytest.param(("Job", "backup"), "", {}, ("Job", "backup"), id="a Job"),
    pytest.param(("Node", "node-1"), "", {}, ("Pod", "web-1"), id="a static pod"),
]


@pytest.mark.parametrize(("owner", "template_hash", "replica_sets", "expected"), CHAINS)
def test_a_pod_belongs_to_the_top_of_its_owners(
    owner: tuple[str, str] | None,
    template_hash: str,
    replica_sets: dict[str, Owner | None],
    expected: tuple[str, str],
) -> None:
    pod = read_pod(ownerReferences=owned_by(*owner) if owner else None, labels={"pod-template-hash": template_hash})
    held = {uid: ReplicaSet(uid, top) for uid, top in replica_sets.items()}
    assert to_workload(pod, held.get)[:2] == expected


def test_an_owner_that_is_no_controller_is_none() -> None:
    assert read_pod(ownerReferences=owned_by("ConfigMap", "x", is_controller=False)).owner is None
