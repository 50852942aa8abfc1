"""Kubernetes' JSON to objects: services, slices, nodes, lists and watches."""

import json
from typing import Any

import pytest

from aggregator.identity.addresses import to_address
from aggregator.identity.kubernetes_json import decode_line, decode_page, decode_refusal
from aggregator.identity.objects import (
    EndpointSlice,
    Node,
    Owner,
    Port,
    ReplicaSet,
    Resource,
    Service,
)
from tests.unit.kubernetes_documents import AT_NS, metadata, owned_by, read


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
