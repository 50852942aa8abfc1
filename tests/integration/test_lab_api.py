"""The lab's Kubernetes API to the official client: what a program meets that was written for a real API server."""

import json
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import kubernetes
import pytest

from lab.cluster import SERVICES, WORKLOADS
from lab.world import World
from tests.deadline import eventually


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World("api", time.time) as found:
        yield found


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[Any]:
    with kubernetes.config.new_client_from_config(str(world.kubeconfig)) as found:
        yield found


@pytest.fixture(scope="module")
def core(client: Any) -> Any:
    return kubernetes.client.CoreV1Api(client)


@pytest.fixture(scope="module")
def apps(client: Any) -> Any:
    return kubernetes.client.AppsV1Api(client)


@pytest.fixture(scope="module")
def discovery(client: Any) -> Any:
    return kubernetes.client.DiscoveryV1Api(client)


def test_the_client_finds_every_pod_where_the_lab_says_it_is(world: World, core: Any) -> None:
    listed = core.list_pod_for_all_namespaces().items

    assert {
        (pod.metadata.namespace, pod.metadata.name, pod.spec.node_name, tuple(ip.ip for ip in pod.status.pod_ips))
        for pod in listed
    } == {(pod.namespace, pod.name, pod.node.name, pod.addresses) for pod in world.pods}
    assert {bool(pod.spec.host_network) for pod in listed if pod.metadata.name.startswith("agent")} == {True}
    assert {pod.status.phase for pod in listed} == {"Running"}


def test_owners_lead_from_each_pod_to_its_workload(apps: Any, core: Any) -> None:
    sets = {found.metadata.uid: found for found in apps.list_replica_set_for_all_namespaces().items}
    found = set()
    for pod in core.list_pod_for_all_namespaces().items:
        (owner,) = pod.metadata.owner_references
        if owner.kind == "ReplicaSet":
            assert pod.metadata.labels["pod-template-hash"] in owner.name
            (owner,) = sets[owner.uid].metadata.owner_references
        found.add((pod.metadata.namespace, owner.kind, owner.name))

    assert found == {(workload.namespace, workload.kind, workload.name) for workload in WORKLOADS}


def test_services_nodes_and_slices_say_what_the_network_does(world: World, discovery: Any, core: Any) -> None:
    services = {item.metadata.name: item.spec for item in core.list_service_for_all_namespaces().items}
    slices = discovery.list_endpoint_slice_for_all_namespaces().items
    nodes = {item.metadata.name: item for item in core.list_node().items}

    assert {name: tuple(spec.cluster_ips) for name, spec in services.items()} == {
        service.name: service.addresses for service in SERVICES
    }
    assert services["web"].external_traffic_policy == "Local"
    assert services["api"].ports[0].node_port == 30081
    for family, kind in enumerate(("IPv4", "IPv6")):
        behind = {
            item.metadata.labels["kubernetes.io/service-name"]: {point.addresses[0] for point in item.endpoints}
            for item in slices
            if item.address_type == kind
        }
        assert behind["api"] == {pod.addresses[family] for pod in world.pods_of("shop/api")}
    assert tuple(nodes["node-2"].spec.pod_cidrs) == world.node("node-2").pod_ranges
    assert nodes["node-2"].metadata.labels["topology.kubernetes.io/zone"] == "lab-b"


def test_every_object_has_the_shape_that_the_client_demands(world: World, client: Any, apps: Any) -> None:
    batch, networking = kubernetes.client.BatchV1Api(client), kubernetes.client.NetworkingV1Api(client)
    core = kubernetes.client.CoreV1Api(client)
    world.start_traffic()
    eventually(lambda: len(world.jobs.pods) == 2, within_seconds=10)
    listed = {
        name: [item.metadata.name for item in listing().items]
        for name, listing in {
            "deployments": apps.list_deployment_for_all_namespaces,
            "stateful sets": apps.list_stateful_set_for_all_namespaces,
            "daemon sets": apps.list_daemon_set_for_all_namespaces,
            "jobs": batch.list_job_for_all_namespaces,
            "cron jobs": batch.list_cron_job_for_all_namespaces,
            "policies": networking.list_network_policy_for_all_namespaces,
            "namespaces": core.list_namespace,
        }.items()
    }
    world.stop_traffic()

    assert listed.pop("jobs")[0].startswith("ticket-")
    assert listed == {
        "deployments": ["prober", "sink", "store", "dns", "scraper", "api", "loadgen", "web"],
        "stateful sets": ["db"],
        "daemon sets": ["agent"],
        "cron jobs": ["ticket"],
        "policies": ["only-sink"],
        "namespaces": ["batch", "data", "default", "kube-system", "monitoring", "shop"],
    }


def next_page(page: Any) -> str:
    """The client's name for a list's `continue`, which is a word of Python."""
    return getattr(page.metadata, "_continue") or ""  # noqa: B009 (not private: see above)


def watch(listing: Any, **options: Any) -> list[Any]:
    """All events of a watch that ends by itself."""
    return list(kubernetes.watch.Watch().stream(listing, **options))


@pytest.mark.parametrize("limit", [1, 5, 1000])
def test_a_list_in_pages_is_the_whole_list(core: Any, limit: int) -> None:
    whole = [pod.metadata.name for pod in core.list_pod_for_all_namespaces().items]
    names: list[str] = []
    token: str | None = None
    while token != "":
        page = core.list_pod_for_all_namespaces(limit=limit, _continue=token)
        names += [pod.metadata.name for pod in page.items]
        token = next_page(page)

    assert names == whole


def test_a_page_whose_snapshot_is_forgotten_is_gone(world: World, core: Any) -> None:
    page = core.list_pod_for_all_namespaces(limit=1)
    world.registry.server.compact()

    with pytest.raises(kubernetes.client.ApiException) as refusal:
        core.list_pod_for_all_namespaces(limit=1, _continue=next_page(page))
    assert refusal.value.status == 410


def test_a_watch_from_a_forgotten_version_is_gone_and_a_new_list_goes_on(world: World, core: Any) -> None:
    world.registry.server.compact()
    with pytest.raises(kubernetes.client.ApiException) as refusal:
        watch(core.list_pod_for_all_namespaces, resource_version="1", timeout_seconds=5)
    version = core.list_pod_for_all_namespaces().metadata.resource_version

    assert refusal.value.status == 410
    assert watch(core.list_pod_for_all_namespaces, resource_version=version, timeout_seconds=0) == []


def test_a_watch_shows_the_life_of_a_short_lived_pod(world: World, core: Any) -> None:
    version = core.list_namespaced_pod("batch").metadata.resource_version
    world.start_traffic()
    before = len(world.jobs.ended)
    eventually(lambda: len(world.jobs.ended) > before, within_seconds=20)
    ticket = world.jobs.ended[before]
    world.stop_traffic()
    events = watch(core.list_namespaced_pod, namespace="batch", resource_version=version, timeout_seconds=1)
    seen = [
        (event["type"], event["object"].status.phase, event["object"].status.pod_ip)
        for event in events
        if event["object"].metadata.name == ticket.name
    ]

    address = ticket.addresses[0]
    assert seen == [
        ("ADDED", "Pending", None),
        ("MODIFIED", "Running", address),
        ("MODIFIED", "Succeeded", address),
        ("DELETED", "Succeeded", address),
    ]


def get(world: World, path: str, token: str | None = None) -> tuple[int, str]:
    """Status and body of a request with the lab's token, or another."""
    server = world.registry.server
    connection = HTTPConnection(server.address.removeprefix("http://"), timeout=10)
    connection.request("GET", path, headers={"Authorization": f"Bearer {server.token if token is None else token}"})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_a_client_that_goes_away_during_a_watch_is_nobodys_trouble(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    server = world.registry.server
    threads = threading.active_count()
    connection = HTTPConnection(server.address.removeprefix("http://"), timeout=10)
    connection.request("GET", "/api/v1/pods?watch=true", headers={"Authorization": f"Bearer {server.token}"})
    assert json.loads(connection.getresponse().readline())["type"] == "ADDED"
    connection.close()

    eventually(lambda: threading.active_count() <= threads, within_seconds=20)
    assert capfd.readouterr().err == ""


def test_a_bookmark_closes_a_watch_that_allows_it(world: World) -> None:
    version = json.loads(get(world, "/api/v1/pods?limit=1")[1])["metadata"]["resourceVersion"]
    target = f"/api/v1/pods?watch=true&resourceVersion={version}&timeoutSeconds=1"
    (last,) = get(world, f"{target}&allowWatchBookmarks=true")[1].splitlines()

    assert json.loads(last) == {
        "type": "BOOKMARK",
        "object": {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": version, "creationTimestamp": None},
        },
    }
    assert get(world, target) == (200, "")


@pytest.mark.parametrize(
    ("path", "token", "code", "reason"),
    [
        ("/api/v1/pods", "wrong", 401, "Unauthorized"),
        ("/api/v1/secrets", None, 404, "NotFound"),
        ("/api/v1/namespaces/shop/pods/nobody", None, 404, "NotFound"),
        ("/api/v1/pods?labelSelector=a%3Db", None, 400, "BadRequest"),
        ("/api/v1/pods?watch=true&resourceVersion=new", None, 400, "BadRequest"),
        ("/api/v1/pods?resourceVersion=999999999", None, 504, "Timeout"),
        ("/api/v1/pods?resourceVersion=1&resourceVersionMatch=Exact", None, 410, "Expired"),
    ],
)
def test_a_refusal_is_a_status_object(world: World, path: str, token: str | None, code: int, reason: str) -> None:
    status, body = get(world, path, token)

    assert (status, json.loads(body)["kind"], json.loads(body)["reason"]) == (code, "Status", reason)


def test_the_server_says_that_it_is_ready_and_which_version_it_speaks(world: World) -> None:
    assert get(world, "/readyz") == (200, "ok")
    assert json.loads(get(world, "/version")[1])["minor"] == "34"


def test_the_kubeconfig_is_for_its_owner_alone(world: World) -> None:
    assert world.kubeconfig.stat().st_mode & 0o077 == 0
