"""Kubernetes' JSON as tests write it, read by the aggregator."""

import json
from typing import Any

from aggregator.identity.kubernetes_json import decode_line
from aggregator.identity.objects import (
    Object,
    Pod,
    Resource,
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
