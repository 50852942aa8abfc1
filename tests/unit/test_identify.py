"""Identification: both ends of flow records as of their time, in IPv4 and IPv6."""

import numpy as np
import pyarrow as pa
import pytest

from aggregator.identity.addresses import to_address
from aggregator.identity.identify import Origins, identify_drops, identify_flows
from aggregator.identity.identities import Identities
from aggregator.identity.objects import Changed, Deleted, Listed, Resource
from aggregator.identity.ranges import RangeSettings
from schemas.drop_batch import SCHEMA as DROPS
from tests.unit.identified_cluster import (
    API,
    NOW,
    SECOND,
    SERVICE,
    SETTINGS,
    TCP,
    UDP,
    WEB,
    attributions,
    batch,
    flow,
    identify,
    know_cluster,
    names,
    own_addresses,
    pod,
    says,
)


@pytest.fixture
def identities() -> Identities:
    return know_cluster()


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
