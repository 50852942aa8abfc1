"""Compose file and manifests to their promises: valid, and with the least rights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

ROOT = Path(__file__).parents[2]
MANIFESTS = sorted(path for path in (ROOT / "k8s").rglob("*.yaml") if not {"grafana"} & set(path.parts))
ENOUGH_FOR_THE_COLLECTOR = ["BPF", "NET_ADMIN", "PERFMON"]


def compose() -> dict[str, Any]:
    """Give the compose file with its merge keys resolved."""
    spec: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return spec


def objects(kind: str) -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] == kind:
                yield document


def pod_specs() -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in ("DaemonSet", "Deployment", "StatefulSet"):
        for document in objects(kind):
            yield document["metadata"]["name"], document["spec"]["template"]["spec"]


PODS = dict(pod_specs())


def test_the_compose_file_is_one_by_the_compose_specification() -> None:
    services = PyCompose.from_yaml(yaml.safe_dump(compose())).service_names()
    assert sorted(services) == ["aggregator", "clickhouse", "collector", "grafana", "kafka", "schema"]


def test_what_compose_services_refer_to_is_there() -> None:
    spec = compose()
    services = spec["services"].values()
    assert {name for service in services for name in service.get("secrets", [])} == set(spec["secrets"])
    assert {name for service in services for name in service.get("depends_on", {})} <= set(spec["services"])
    sources = [
        text.split(":")[0] for service in services for text in service.get("volumes", []) if isinstance(text, str)
    ]
    assert {source for source in sources if not source.startswith("./")} == set(spec["volumes"])
    assert [source for source in sources if source.startswith("./") and not (ROOT / source).exists()] == []
    dockerfiles = [service["build"]["dockerfile"] for service in services if "build" in service]
    assert [name for name in dockerfiles if not (ROOT / name).is_file()] == []


def test_compose_publishes_on_the_loopback_only() -> None:
    ports = [port for service in compose()["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_the_collector_in_compose_has_three_capabilities_and_a_read_only_root() -> None:
    collector = compose()["services"]["collector"]
    assert (collector["cap_drop"], collector["cap_add"], collector["read_only"]) == (
        ["ALL"],
        ENOUGH_FOR_THE_COLLECTOR,
        True,
    )
    assert "privileged" not in collector


def test_the_collector_in_kubernetes_has_three_capabilities_and_no_token() -> None:
    pod = PODS["collector"]
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "runAsUser": 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ENOUGH_FOR_THE_COLLECTOR},
    }
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod


def test_the_aggregator_in_kubernetes_has_no_privilege() -> None:
    pod = PODS["aggregator"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_aggregator_may_list_and_watch_what_it_joins_with_and_nothing_else() -> None:
    (role,) = objects("ClusterRole")
    rights = {
        (group, resource) for rule in role["rules"] for group in rule["apiGroups"] for resource in rule["resources"]
    }
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"list", "watch"}
    assert rights == {
        ("", "nodes"),
        ("", "pods"),
        ("", "services"),
        ("apps", "replicasets"),
        ("discovery.k8s.io", "endpointslices"),
    }


@pytest.mark.parametrize("name", PODS)
def test_every_pod_is_free_of_service_variables_and_bounded_in_memory(name: str) -> None:
    pod = PODS[name]
    assert pod["enableServiceLinks"] is False
    assert all("memory" in container["resources"]["limits"] for container in pod["containers"])
