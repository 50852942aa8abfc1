"""Lab id to plan: the same cluster each time, without a collision in it."""

import ipaddress

import pytest

from lab.births import Births
from lab.cluster import SERVICES, plan_cluster
from lab.errors import LabError
from lab.firewall import render
from lab.plan import CLUSTER_RANGES, SERVICE_RANGES, check_lab_id
from lab.traffic import plan_traffic, ticket_tasks, to_program
from lab.workload_objects import controllers, pod


def test_a_lab_is_a_cluster_of_several_nodes_namespaces_and_pods() -> None:
    cluster = plan_cluster("a")

    assert len(cluster.nodes) >= 3
    assert len({node.zone for node in cluster.nodes}) >= 2
    assert len([found for found in cluster.pods if not found.host_network]) >= 12
    assert len({found.namespace for found in cluster.pods}) >= 3
    assert {found.workload.kind for found in cluster.pods} >= {"Deployment", "StatefulSet", "DaemonSet"}


def test_no_two_pods_share_a_name_an_address_or_an_interface() -> None:
    pods = [found for found in plan_cluster("a").pods if not found.host_network]

    for values in (
        [found.full_name for found in pods],
        [found.addresses[0] for found in pods],
        [found.addresses[1] for found in pods],
        [(found.node.name, found.interface) for found in pods],
        [found.netns_path for found in pods],
    ):
        assert len(set(values)) == len(pods)
    assert max(len(found.interface) for found in pods) <= 15  # the kernel's limit


def test_every_address_lies_in_its_range() -> None:
    cluster = plan_cluster("a")

    for family in (0, 1):
        pods, services = ipaddress.ip_network(CLUSTER_RANGES[family]), ipaddress.ip_network(SERVICE_RANGES[family])
        for found in cluster.pods:
            address = ipaddress.ip_address(found.addresses[family])
            assert (address in pods) != found.host_network
            assert found.host_network or address in ipaddress.ip_network(found.node.pod_ranges[family])
        assert all(ipaddress.ip_address(found.addresses[family]) in services for found in SERVICES)


def test_labs_differ_in_their_namespaces_and_in_nothing_that_packets_show() -> None:
    one, other = plan_cluster("one"), plan_cluster("other")

    assert not {node.netns for node in one.nodes} & {node.netns for node in other.nodes}
    assert not {found.netns_path for found in one.pods} & {found.netns_path for found in other.pods}
    assert [(p.full_name, p.addresses, p.interface) for p in one.pods] == [
        (p.full_name, p.addresses, p.interface) for p in other.pods
    ]


@pytest.mark.parametrize("name", ["", "Lab", "a-b", "../etc", "a" * 17, "a b"])
def test_a_name_unfit_for_a_lab_is_refused_with_what_to_use(name: str) -> None:
    with pytest.raises(LabError, match="use 1 to 16 lower-case letters and digits"):
        check_lab_id(name)


def test_every_service_has_pods_and_every_node_port_a_rule_on_each_node_that_serves_it() -> None:
    cluster = plan_cluster("a")

    for service in cluster.services:
        assert cluster.endpoints(service)
        for node in cluster.nodes:
            rules = [line for line in render(node, cluster) if f"dport {service.node_port} " in line]
            serves = not service.is_local or any(found.node == node for found in cluster.endpoints(service))
            assert len(rules) == (2 if service.node_port and serves else 0)
            assert all(("mark" in rule) != service.is_local for rule in rules)


def test_each_pod_that_lasts_has_a_program_and_no_two_programs_share_a_name() -> None:
    cluster = plan_cluster("a")
    names = [placed.program.me for placed in plan_traffic(cluster)]

    assert len(set(names)) == len(names)
    assert set(names) >= {found.full_name for found in cluster.pods} | {"outside", "node/node-1"}


def test_a_program_that_calls_others_stops_before_those_it_calls() -> None:
    tiers = {placed.program.me.partition("-")[0]: placed.tier for placed in plan_traffic(plan_cluster("a"))}

    chain = ["shop/loadgen", "outside", "shop/web", "shop/api", "data/db"]
    assert [tiers[name] for name in chain] == sorted({tiers[name] for name in chain})


def test_a_pod_leads_to_its_deployment_through_its_replica_set() -> None:
    cluster = plan_cluster("a")
    births = Births("a", "2026-01-01T00:00:00Z")
    web = cluster.pods_of("shop/web")[0]
    (_, deployment), (kind, replica_set) = controllers(web.workload, births)
    document = pod(web, births, owners=[{"kind": kind, "name": replica_set.name, "uid": replica_set.metadata["uid"]}])

    assert replica_set.metadata["ownerReferences"] == [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "web",
            "uid": deployment.metadata["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert document.metadata["labels"] == {
        "app.kubernetes.io/name": "web",
        "pod-template-hash": web.workload.template_hash,
    }
    assert replica_set.name == f"web-{web.workload.template_hash}"
    assert web.name.startswith(f"{replica_set.name}-")


def test_a_ticket_calls_a_service_over_both_families() -> None:
    cluster = plan_cluster("a")
    program = to_program(cluster.pods[0], ticket_tasks(cluster))

    assert len(program.tasks) == 2
    assert program.namespace == str(cluster.pods[0].netns_path)
