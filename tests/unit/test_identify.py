"""Identification: both ends of flow records as of their time, in IPv4 and IPv6."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aggregator.addresses import to_address
from aggregator.identify import ATTRIBUTIONS, Identified, Origins, identify_drops, identify_flows
from aggregator.identities import Identities
from aggregator.objects import Changed, Deleted, EndpointSlice, Listed, Node, Owner, Pod, Port, Resource, Service
from aggregator.ranges import RangeSettings
from aggregator.reporter import REPORTERS
from schemas.batch import Batch, BatchHeader
from schemas.drop_batch import SCHEMA as DROPS
from schemas.flow_batch import SCHEMA as FLOWS

SECOND = 10**9
NOW = 1_800_000_000 * SECOND
TCP, UDP = 6, 17

HOSTS = {
    4: {
        "api-pod": "10.244.1.5",
        "web-pod": "10.244.2.7",
        "free-pod": "10.244.2.9",
        "node-1": "192.168.7.1",
        "node-2": "192.168.7.2",
        "bridge-1": "10.244.1.1",
        "bridge-2": "10.244.2.1",
        "service": "10.96.0.10",
        "outside": "203.0.113.5",
        "office": "172.16.4.4",
        "group": "224.0.0.251",
        "link": "169.254.9.9",
    },
    6: {
        "api-pod": "fd00:244:1::5",
        "web-pod": "fd00:244:2::7",
        "free-pod": "fd00:244:2::9",
        "node-1": "fd00:7::1",
        "node-2": "fd00:7::2",
        "bridge-1": "fd00:244:1::1",
        "bridge-2": "fd00:244:2::1",
        "service": "fd00:96::10",
        "outside": "2001:db8::5",
        "office": "2001:db8:99::4",
        "group": "ff02::fb",
        "link": "fe80::9",
    },
}


def both(name: str) -> tuple[bytes, ...]:
    return tuple(to_address(hosts[name]) for hosts in HOSTS.values())


def pod(name: str, address: str, node: str, created_s: int = -100, **more: Any) -> Pod:
    created = NOW + created_s * SECOND
    facts: dict[str, Any] = {
        "uid": f"uid-{name}",
        "namespace": "shop",
        "name": name,
        "node": node,
        "addresses": both(address),
        "created_ns": created,
        "started_ns": created,
        "is_finished": False,
        "ended_by_ns": None,
        "owner": Owner("StatefulSet", name.rpartition("-")[0], f"uid-set-{name}"),
        "template_hash": "",
        "host_ports": (),
    }
    return Pod(**facts | more)


def node(name: str) -> Node:
    return Node(f"uid-{name}", name, NOW - 1000 * SECOND, both(name), f"zone-{name[-1]}", ())


API, WEB = pod("api-0", "api-pod", "node-1"), pod("web-0", "web-pod", "node-2", host_ports=(Port(TCP, 8443),))
SERVICE = Service(
    uid="uid-service",
    namespace="shop",
    name="api",
    created_ns=NOW - 500 * SECOND,
    cluster_ips=both("service"),
    external_ips=(),
    node_ports=(Port(TCP, 30080),),
)
SLICE = EndpointSlice("uid-slice", "shop", "api", frozenset({API.uid}))
SETTINGS = RangeSettings.parse(
    pod_cidrs="10.244.0.0/16,fd00:244::/32",
    service_cidrs="10.96.0.0/16,fd00:96::/112",
    cidr_labels="172.16.0.0/12=office,2001:db8:99::/48=office",
)


@pytest.fixture
def identities() -> Identities:
    known = Identities(SETTINGS, is_watching=True)
    known.apply(Changed((node("node-1"), node("node-2"), API, WEB, SERVICE, SLICE), NOW))
    for name in ("1", "2"):
        own = (*both(f"node-{name}"), *both(f"bridge-{name}"), to_address("fe80::1"))
        known.learn_inventory(f"node-{name}", b"".join(own), observed_ns=NOW)
    return known


def own_addresses(node_name: str) -> bytes:
    number = node_name[-1]
    return b"".join((*both(f"node-{number}"), *both(f"bridge-{number}"), to_address("fe80::1")))


def batch(rows: list[dict[str, Any]], node_name: str = "node-1", schema: pa.Schema = FLOWS) -> Batch:
    records = pa.RecordBatch.from_pylist([blank(schema) | row for row in rows], schema=schema)
    header = BatchHeader(
        node=node_name,
        boot_id="boot",
        ring_id="ring",
        first=0,
        counting_since_ns=NOW,
        exported_until_ns=NOW,
        created_ns=NOW,
        node_addresses=own_addresses(node_name),
    )
    return Batch(header, records)


def blank(schema: pa.Schema) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for field in schema:
        if pa.types.is_fixed_size_list(field.type):
            row[field.name] = [0] * 8
        elif pa.types.is_dictionary(field.type):
            row[field.name] = ""
        else:
            row[field.name] = bytes(16) if pa.types.is_fixed_size_binary(field.type) else 0
    return row | {"time_start": NOW, "time_end": NOW, "protocol": TCP, "dst_port": 80}


def flow(src: str, dst: str, version: int = 4, **more: Any) -> dict[str, Any]:
    hosts = HOSTS[version]
    return {"src_addr": to_address(hosts[src]), "dst_addr": to_address(hosts[dst])} | more


def identify(known: Identities, *batches: Batch) -> Identified:
    records = pa.concat_batches([each.records for each in batches])
    return identify_flows(records, Origins.of(batches), snapshot=known.snapshot())


def names(known: Identities, rows: Any, *attributes: str) -> list[tuple[str, ...]]:
    leases = known.snapshot().leases
    return list(zip(*(leases.names(attribute, rows).to_pylist() for attribute in attributes), strict=True))


def says(identified: Identified) -> list[tuple[str, int]]:
    return list(
        zip(REPORTERS.take(pa.array(identified.reporter)).to_pylist(), identified.authoritative.tolist(), strict=True)
    )


def attributions(codes: Any) -> list[str]:
    return list(ATTRIBUTIONS.take(pa.array(codes)).to_pylist())


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("host", "attribution", "expected"),
    [
        ("api-pod", "pod", ("shop", "api", "StatefulSet", "api-0", "api", "node-1", "zone-1")),
        ("web-pod", "pod", ("shop", "web", "StatefulSet", "web-0", "", "node-2", "zone-2")),
        ("service", "service", ("shop", "api", "StatefulSet", "", "api", "", "")),
        ("node-1", "node", ("", "node-1", "Node", "", "", "node-1", "zone-1")),
        ("bridge-1", "node", ("", "node-1", "Node", "", "", "node-1", "zone-1")),
        ("bridge-2", "node", ("", "node-2", "Node", "", "", "node-2", "zone-2")),
        ("outside", "world", ("", "world", "World", "", "", "", "")),
        ("office", "label", ("", "office", "Label", "", "", "", "")),
        ("group", "multicast", ("", "multicast", "Multicast", "", "", "", "")),
        ("link", "link_local", ("", "link_local", "LinkLocal", "", "", "", "")),
        ("free-pod", "unresolved", ("", "unresolved", "Unresolved", "", "", "", "")),
    ],
)
def test_an_end_gets_its_names(
    identities: Identities, version: int, host: str, attribution: str, expected: tuple[str, ...]
) -> None:
    found = identify(identities, batch([flow("api-pod", host, version)]))
    columns = ("namespace", "workload", "workload_kind", "pod", "service", "node", "zone")
    assert names(identities, found.dst, *columns) == [expected]
    assert attributions(found.dst_attribution) == [attribution]
    assert found.unresolved.tolist() == [attribution == "unresolved"]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("row", "origin", "expected", "src_attribution"),
    [
        pytest.param(
            ("api-pod", "web-pod", 1, 0, 0, 80), "node-1", ("source", 1), "pod", id="pod to pod at the client"
        ),
        pytest.param(("api-pod", "web-pod", 1, 1, 0, 80), "node-2", ("destination", 0), "pod", id="at the server"),
        pytest.param(("api-pod", "web-pod", 0, 1, 0, 80), "node-1", ("transit", 0), "pod", id="at the uplink"),
        pytest.param(
            ("free-pod", "outside", 1, 0, 0, 80), "node-2", ("source", 1), "unresolved", id="a pod not yet known"
        ),
        pytest.param(("node-1", "outside", 0, 1, 1, 80), "node-1", ("source", 1), "node", id="a node's own process"),
        pytest.param(
            ("node-1", "outside", 0, 1, 0, 80), "node-1", ("transit", 0), "masqueraded", id="a pod behind masquerade"
        ),
        pytest.param(
            ("bridge-1", "api-pod", 1, 1, 1, 80), "node-1", ("destination", 1), "node", id="a kubelet's probe"
        ),
        pytest.param(
            ("node-2", "api-pod", 1, 1, 0, 80), "node-1", ("destination", 1), "node", id="another node to a pod"
        ),
        pytest.param(
            ("node-1", "node-2", 0, 1, 1, 30080), "node-1", ("source", 0), "node", id="to a NodePort elsewhere"
        ),
        pytest.param(("outside", "node-1", 0, 0, 0, 30080), "node-1", ("transit", 0), "world", id="to a NodePort here"),
        pytest.param(("outside", "node-2", 0, 0, 0, 8443), "node-2", ("transit", 0), "world", id="to a hostPort here"),
        pytest.param(
            ("outside", "node-1", 0, 0, 0, 8443), "node-1", ("destination", 1), "world", id="to another node's hostPort"
        ),
        pytest.param(
            ("outside", "node-1", 0, 0, 1, 22), "node-1", ("destination", 1), "world", id="to a node's process"
        ),
    ],
)
def test_a_record_gets_its_reporter_and_authority(
    identities: Identities,
    version: int,
    row: tuple[str, str, int, int, int, int],
    origin: str,
    expected: tuple[str, int],
    src_attribution: str,
) -> None:
    src, dst, kind, direction, socket, port = row
    seen = {"interface_kind": kind, "flow_direction": direction, "local_socket": socket, "dst_port": port}
    found = identify(identities, batch([flow(src, dst, version, **seen)], origin))
    assert says(found) == [expected]
    assert attributions(found.src_attribution) == [src_attribution]


def test_a_port_is_published_for_its_own_protocol_only(identities: Identities) -> None:
    rows = [flow("outside", "node-1", protocol=protocol, dst_port=30080) for protocol in (TCP, UDP)]
    assert says(identify(identities, batch(rows))) == [("transit", 0), ("destination", 1)]


def test_an_own_address_is_each_nodes_own_in_one_range_of_records(identities: Identities) -> None:
    row = flow("node-1", "node-2", flow_direction=1, local_socket=1)
    link = {
        "src_addr": to_address("fe80::1"),
        "dst_addr": to_address("fe80::9"),
        "interface_kind": 1,
        "flow_direction": 1,
    }
    found = identify(identities, batch([row, link], "node-1"), batch([]), batch([row, link], "node-2"))
    assert says(found) == [("source", 1), ("destination", 1), ("transit", 0), ("destination", 1)]
    assert names(identities, found.src, "workload") == [("node-1",), ("node-1",), ("node-1",), ("node-2",)]


def test_origins_name_the_node_of_each_record(identities: Identities) -> None:
    origins = Origins.of(
        [batch([flow("link", "link")] * 2, "node-2"), batch([], "node-1"), batch([flow("link", "link")])]
    )
    assert origins.nodes.take(pa.array(origins.codes)).to_pylist() == ["node-2", "node-2", "node-1"]


def test_a_record_is_named_as_of_its_own_end(identities: Identities) -> None:
    identities.apply(Deleted(API, NOW + 10 * SECOND))
    heir = pod("batch-0", "api-pod", "node-1", created_s=30)
    identities.apply(Changed((heir,), NOW + 31 * SECOND))
    times = (0, 9, 20, 30, 60)
    rows = [flow("api-pod", "outside", time_start=NOW + at * SECOND, time_end=NOW + at * SECOND) for at in times]
    found = identify(identities, batch(rows))
    assert [name for (name,) in names(identities, found.src, "pod")] == ["api-0", "api-0", "", "batch-0", "batch-0"]
    assert found.unresolved.tolist() == [False, False, True, False, False]


def test_what_came_after_a_pods_end_in_a_record_that_began_before_is_still_the_pods(identities: Identities) -> None:
    identities.apply(Deleted(API, NOW + 10 * SECOND))
    row = flow("api-pod", "outside", time_start=NOW + 9 * SECOND, time_end=NOW + 11 * SECOND)
    assert names(identities, identify(identities, batch([row])).src, "pod") == [("api-0",)]


def test_a_drop_is_named_and_has_no_authority(identities: Identities) -> None:
    each = batch([flow("api-pod", "service")], schema=DROPS)
    found = identify_drops(each.records, Origins.of([each]), snapshot=identities.snapshot())
    assert names(identities, found.src, "pod") == [("api-0",)]
    assert names(identities, found.dst, "service") == [("api",)]
    assert says(found) == [("transit", 0)]


def test_no_record_is_no_trouble(identities: Identities) -> None:
    found = identify(identities, batch([]))
    assert (len(found.src), len(found.reporter), len(found.unresolved)) == (0, 0, 0)
    nothing = identify_flows(batch([]).records, Origins.of([]), snapshot=identities.snapshot())
    assert len(nothing.src) == 0


def test_it_is_ready_when_each_resource_was_listed_once(identities: Identities) -> None:
    for resource in Resource:
        assert not identities.ready
        identities.apply(Listed(resource, frozenset(), NOW))
    assert identities.ready


def test_without_kubernetes_nodes_are_known_by_their_collectors() -> None:
    alone = Identities(RangeSettings(), is_watching=False)
    assert alone.ready
    alone.learn_inventory("node-1", own_addresses("node-1"), observed_ns=NOW)
    found = identify(alone, batch([flow("outside", "node-1", local_socket=1), flow("node-1", "outside")], "node-2"))
    assert names(alone, found.dst, "workload", "node") == [("node-1", "node-1"), ("world", "")]


def test_a_snapshot_stays_the_same_while_nothing_changes(identities: Identities) -> None:
    before = identities.snapshot()
    identities.apply(Changed((API, SERVICE), NOW + SECOND))
    identities.learn_inventory("node-1", own_addresses("node-1"), observed_ns=NOW + SECOND)
    assert identities.snapshot() is before
    identities.apply(Deleted(API, NOW + 2 * SECOND))
    assert identities.snapshot() is not before


def test_pods_in_no_known_range_are_counted() -> None:
    unaware = Identities(RangeSettings(), is_watching=True)
    unaware.apply(Changed((API, WEB), NOW))
    assert unaware.pods_outside_ranges() == 4
    aware = Identities(SETTINGS, is_watching=True)
    aware.apply(Changed((API, WEB), NOW))
    assert aware.pods_outside_ranges() == 0
    assert isinstance(aware.snapshot().leases.codes["pod"], np.ndarray)
