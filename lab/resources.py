"""URLs to what they ask for, stored objects to the JSON that answers: the Kubernetes API's conventions without HTTP."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from lab.store import Document, Json, Snapshot


class Resource(NamedTuple):
    """A resource's plural in URLs, and what its objects say of themselves."""

    plural: str
    api_version: str
    kind: str


RESOURCES = (
    Resource("pods", "v1", "Pod"),
    Resource("services", "v1", "Service"),
    Resource("nodes", "v1", "Node"),
    Resource("namespaces", "v1", "Namespace"),
    Resource("endpointslices", "discovery.k8s.io/v1", "EndpointSlice"),
    Resource("replicasets", "apps/v1", "ReplicaSet"),
    Resource("deployments", "apps/v1", "Deployment"),
    Resource("statefulsets", "apps/v1", "StatefulSet"),
    Resource("daemonsets", "apps/v1", "DaemonSet"),
    Resource("jobs", "batch/v1", "Job"),
    Resource("cronjobs", "batch/v1", "CronJob"),
    Resource("networkpolicies", "networking.k8s.io/v1", "NetworkPolicy"),
)
SERVED = {
    ("/api/v1" if "/" not in found.api_version else f"/apis/{found.api_version}", found.plural): found
    for found in RESOURCES
}
# Understood, or without meaning for an answer in JSON. Anything else (selectors) would change it: refused.
PARAMETERS = {
    "allowWatchBookmarks",
    "continue",
    "limit",
    "pretty",
    "resourceVersion",
    "resourceVersionMatch",
    "timeoutSeconds",
    "watch",
}


class RefusedError(Exception):
    """An answer that is an error: the API's Status object."""

    def __init__(self, code: int, reason: str, *, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }


def expired(message: str) -> RefusedError:
    """The error that tells a client to list again."""
    return RefusedError(410, "Expired", message=message)


@dataclass(frozen=True)
class Query:
    """What a URL asks for: a resource, of one namespace or all, perhaps one object of it."""

    resource: Resource
    namespace: str
    name: str
    parameters: dict[str, str]

    @property
    def is_watch(self) -> bool:
        """Whether changes are wanted, not a list."""
        return self.parameters.get("watch", "") in {"1", "true", "True"}

    @property
    def wants_bookmarks(self) -> bool:
        """Whether a watch may send BOOKMARK events."""
        return self.parameters.get("allowWatchBookmarks", "") in {"1", "true", "True"}

    def number(self, parameter: str) -> int | None:
        """A parameter's value, None when it is absent or empty.

        Raises:
            RefusedError: it is no number (400).
        """
        text = self.parameters.get(parameter, "")
        if not text:
            return None
        if not text.isdecimal():
            raise RefusedError(400, "BadRequest", message=f"invalid {parameter}: {text!r}")
        return int(text)

    def selects(self, document: Document) -> bool:
        """Whether an object of the resource is asked for."""
        return self.namespace in {"", document.namespace}


def to_query(target: str) -> Query:
    """What the URL path and query string `target` asks for.

    Raises:
        RefusedError: nothing that is served (404), or a parameter that is not (400).
    """
    url = urlsplit(target)
    parameters = dict(parse_qsl(url.query, keep_blank_values=True))
    unknown = sorted(name for name, value in parameters.items() if name not in PARAMETERS and value)
    if unknown:
        raise RefusedError(400, "BadRequest", message=f"the lab's API server does not serve the parameter {unknown[0]}")
    parts = url.path.strip("/").split("/")
    depth = 2 if parts[0] == "api" else 3
    group, rest = "/" + "/".join(parts[:depth]), parts[depth:]
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    resource = SERVED.get((group, rest[0])) if rest else None
    if resource is None or len(rest) > 2:
        raise RefusedError(404, "NotFound", message=f"the lab's API server does not serve {url.path}")
    return Query(resource, namespace, rest[1] if len(rest) == 2 else "", parameters)


def to_object(document: Document, resource: Resource) -> Json:
    """An object by itself, with its kind."""
    return {"kind": resource.kind, "apiVersion": resource.api_version, **to_item(document)}


def to_item(document: Document) -> dict[str, Json]:
    """An object in a list: the list's kind speaks for it."""
    return {"metadata": document.metadata, **document.content}


def to_list(snapshot: Snapshot, query: Query, *, start: tuple[str, str]) -> Json:
    """One page of a snapshot: what is selected from the key `start` on, at most `limit` objects."""
    chosen = [document for document in snapshot.documents if query.selects(document) and document.sort_key >= start]
    limit = query.number("limit") or len(chosen)
    metadata: dict[str, Json] = {"resourceVersion": str(snapshot.version)}
    if len(chosen) > limit:
        metadata["continue"] = to_token(snapshot.version, chosen[limit].sort_key)
        metadata["remainingItemCount"] = len(chosen) - limit
    return {
        "kind": f"{query.resource.kind}List",
        "apiVersion": query.resource.api_version,
        "metadata": metadata,
        "items": [to_item(document) for document in chosen[:limit]],
    }


def to_token(version: int, start: tuple[str, str]) -> str:
    """The `continue` of a page: the snapshot's version and the key of the next object."""
    return base64.urlsafe_b64encode(json.dumps([version, *start]).encode()).decode()


def from_token(token: str) -> tuple[int, tuple[str, str]]:
    """Version and start key of a `continue`.

    Raises:
        RefusedError: it is none of ours (400).
    """
    try:
        version, namespace, name = json.loads(base64.urlsafe_b64decode(token))
        return int(version), (str(namespace), str(name))
    except ValueError as error:
        raise RefusedError(400, "BadRequest", message=f"continue key is not valid: {error}") from error


def to_bookmark(version: int, resource: Resource) -> Json:
    """The object of a BOOKMARK event: it carries nothing but a version to go on from."""
    metadata: Json = {"resourceVersion": str(version), "creationTimestamp": None}
    return {
        "type": "BOOKMARK",
        "object": {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata},
    }
