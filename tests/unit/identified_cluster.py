"""A small cluster of two nodes, and flow records of it as tests write them."""

from typing import Any

import pyarrow as pa

from aggregator.identity.addresses import to_address
from aggregator.identity.identify import ATTRIBUTIONS, Identified, Origins, identify_flows
from aggregator.identity.identities import Identities
from aggregator.identity.objects import Changed, EndpointSlice, Node, Owner, Pod, Port, Service
from aggregator.identity.ranges import RangeSettings
from aggregator.identity.reporter import REPORTERS
from schemas.batch import Batch, BatchHeader
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


def know_cluster() -> Identities:
    """What a worker knows of this cluster."""
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
            row[field.name] = [0] * field.type.list_size
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
