"""Kubernetes' JSON to objects, and a pod's owners to its workload."""

import json
from typing import Any

import pytest

from aggregator.addresses import to_address
from aggregator.kubernetes_json import decode_line, decode_page, decode_refusal
from aggregator.objects import (
    EndpointSlice,
    Node,
    Object,
    Owner,
    Pod,
    Port,
    ReplicaSet,
    Resource,
    Service,
    to_workload,
)

SECOND = 10**9
AT = "2026-11-24T08:00:00Z"
AT_NS = 1795507200 * SECOND


def metadata(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "uid": f"uid-{name}",
        "namespace": "shop",
        "creationTimestamp": AT,
        "resourceVersion": "7",
    } | more


def read(resource: Resource, raw: dict[str, Any]) -> Object:
    line = decode_line(resource, json.dumps({"type": "ADDED", "object": raw}).encode())
    assert line.problem == ""
    assert line.object is not None
    return line.object


def read_pod(spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **more: Any) -> Pod:
    pod = read(Resource.PODS, {"metadata": metadata("web-1", **more), "spec": spec or {}, "status": status or {}})
    assert isinstance(pod, Pod)
    return pod


def owned_by(kind: str, name: str, *, is_controller: bool = True) -> list[dict[str, Any]]:
    return [{"apiVersion": "x/v1", "kind": kind, "name": name, "uid": f"uid-{name}", "controller": is_controller}]


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


def test_a_service_has_all_its_addresses_and_node_ports() -> None:
    spec = {
        "clusterIP": "10.96.0.10",
        "clusterIPs": ["10.96.0.10", "fd00:96::10"],
        "externalIPs": ["203.0.113.9"],
        "ports": [{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP", "nodePort": 30053}, {"port": 9}],
    }
    status = {"loadBalancer": {"ingress": [{"ip": "203.0.113.10"}, {"hostname": "lb.example.org"}]}}
    assert read(Resource.SERVICES, {"metadata": metadata("api"), "spec": spec, "status": status}) == Service(
        uid="uid-api",
        namespace="shop",
        name="api",
        created_ns=AT_NS,
        cluster_ips=(to_address("10.96.0.10"), to_address("fd00:96::10")),
        external_ips=(to_address("203.0.113.9"), to_address("203.0.113.10")),
        node_ports=(Port(6, 30080), Port(17, 30053)),
    )


@pytest.mark.parametrize(
    "spec", [{"clusterIPs": ["None"]}, {"type": "ExternalName"}, {"clusterIPs": None, "ports": None}]
)
def test_a_service_without_an_address_has_none(spec: dict[str, Any]) -> None:
    service = read(Resource.SERVICES, {"metadata": metadata("api"), "spec": spec, "status": {"loadBalancer": {}}})
    assert isinstance(service, Service)
    assert (service.cluster_ips, service.external_ips, service.node_ports) == ((), (), ())


def test_an_endpoint_slice_holds_its_pods_ready_or_not() -> None:
    endpoints = [
        {"addresses": ["10.244.1.5"], "targetRef": {"kind": "Pod", "name": "a", "uid": "uid-a"}},
        {"addresses": ["10.244.1.6"], "targetRef": {"kind": "Pod", "uid": "uid-b"}, "conditions": {"ready": False}},
        {"addresses": ["192.0.2.1"]},
        {"addresses": ["192.0.2.2"], "targetRef": {"kind": "Node", "uid": "uid-n"}},
    ]
    labelled = metadata("api-x", labels={"kubernetes.io/service-name": "api"})
    held = read(Resource.ENDPOINT_SLICES, {"metadata": labelled, "endpoints": endpoints})
    assert held == EndpointSlice("uid-api-x", "shop", "api", frozenset({"uid-a", "uid-b"}))
    empty = read(Resource.ENDPOINT_SLICES, {"metadata": labelled, "endpoints": None})
    assert isinstance(empty, EndpointSlice)
    assert empty.pods == frozenset()


def test_a_node_has_its_addresses_zone_and_pod_ranges() -> None:
    raw = {
        "metadata": metadata("node-1", labels={"topology.kubernetes.io/zone": "z1"}),
        "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:244:1::/64"]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": "192.168.1.1"},
                {"type": "ExternalIP", "address": "203.0.113.1"},
                {"type": "Hostname", "address": "node-1"},
            ]
        },
    }
    node = read(Resource.NODES, raw)
    assert isinstance(node, Node)
    assert node.addresses == (to_address("192.168.1.1"), to_address("203.0.113.1"))
    assert (node.zone, [str(each) for each in node.pod_ranges]) == ("z1", ["10.244.1.0/24", "fd00:244:1::/64"])


def test_an_object_that_cannot_be_read_does_not_hide_the_others() -> None:
    good = {"metadata": metadata("web-1"), "spec": {}, "status": {}}
    bad = {"metadata": metadata("web-2"), "spec": {}, "status": {"podIPs": [{"ip": "10.244.1"}]}}
    text = json.dumps({"metadata": {"resourceVersion": "99", "continue": "more"}, "items": [bad, good, {}]}).encode()
    page = decode_page(Resource.PODS, text)
    assert [each.uid for each in page.objects] == ["uid-web-1"]
    assert (page.resource_version, page.proceed) == ("99", "more")
    assert page.uids == {"uid-web-1", "uid-web-2", ""}
    assert len(page.unreadable) == 2
    assert page.unreadable[0].startswith("pods: '10.244.1'")


def test_the_lines_of_a_watch() -> None:
    bookmark = b'{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"12"}}}'
    assert decode_line(Resource.PODS, bookmark)[:3] == ("BOOKMARK", None, "12")
    gone = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}'
    assert decode_line(Resource.PODS, gone)[3:] == ("Expired: too old", 410)
    bad = b'{"type":"MODIFIED","object":{"metadata":{"name":"x","resourceVersion":"13"}}}'
    line = decode_line(Resource.PODS, bad)
    assert (line.object, line.resource_version) == (None, "13")
    assert "uid" in line.problem


def test_a_refusal_is_what_the_server_says() -> None:
    assert decode_refusal(b'{"kind":"Status","message":"you may not"}') == "you may not"
    assert decode_refusal(b"<html>Bad Gateway</html>") == "<html>Bad Gateway</html>"


def test_a_replica_set_names_its_owner() -> None:
    raw = {"metadata": metadata("web-abc12", ownerReferences=owned_by("Deployment", "web"))}
    assert read(Resource.REPLICA_SETS, raw) == ReplicaSet("uid-web-abc12", Owner("Deployment", "web", "uid-web"))
