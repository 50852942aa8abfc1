"""Kubernetes' raw JSON to `objects`: the pages of a list, and the lines of a watch.

An object that cannot be read is passed over and reported: one broken object must not hide the others.
"""

import ipaddress
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from aggregator.identity.addresses import to_address
from aggregator.identity.kubernetes_fields import (
    RawContainerPort,
    RawEndpointSlice,
    RawNode,
    RawPod,
    RawReplicaSet,
    RawService,
)
from aggregator.identity.objects import EndpointSlice, Node, Object, Pod, Port, ReplicaSet, Resource, Service

_SECOND: Final = 10**9
_PROTOCOLS: Final = {"TCP": 6, "UDP": 17, "SCTP": 132}


class Page(NamedTuple):
    """One page of a list."""

    objects: tuple[Object, ...]
    resource_version: str
    proceed: str
    """Token for the next page, empty on the last."""
    uids: frozenset[str]
    """Of all objects of the page, also of those that could not be read."""
    unreadable: tuple[str, ...]
    """Why each object that was passed over could not be read."""


class Line(NamedTuple):
    """One line of a watch."""

    type: str
    """ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""
    object: Object | None
    """None for a bookmark, an error and what could not be read."""
    resource_version: str
    """Where a watch may begin again; empty for an error."""
    problem: str
    """What could not be read, or the error's reason."""
    code: int
    """The error's HTTP status, 410 where the version is too old; else 0."""


def decode_page(resource: Resource, text: bytes) -> Page:
    """A page of a list. Raises: msgspec.DecodeError when it is no list at all."""
    page = _PAGE.decode(text)
    found = [(item, _read(resource, item)) for item in page.items or ()]
    objects = tuple(each for _, each in found if not isinstance(each, str))
    uids = frozenset(_uid(item) if isinstance(each, str) else each.uid for item, each in found)
    unreadable = tuple(each for _, each in found if isinstance(each, str))
    return Page(objects, page.metadata.resource_version, page.metadata.proceed, uids, unreadable)


def decode_refusal(text: bytes) -> str:
    """What the server says of a request that failed."""
    try:
        return _STATUS.decode(text).message
    except msgspec.DecodeError:
        return text[:200].decode(errors="replace")


def decode_line(resource: Resource, text: bytes) -> Line:
    """A line of a watch. Raises: msgspec.DecodeError when it is no event at all."""
    event = _EVENT.decode(text)
    if event.type == "ERROR":
        status = _STATUS.decode(event.object)
        return Line(event.type, None, "", f"{status.reason}: {status.message}", status.code)
    version = _VERSIONED.decode(event.object).metadata.resource_version
    if event.type == "BOOKMARK":
        return Line(event.type, None, version, "", 0)
    found = _read(resource, event.object)
    if isinstance(found, str):
        return Line(event.type, None, version, found, 0)
    return Line(event.type, found, version, "", 0)


def _read(resource: Resource, text: msgspec.Raw) -> Object | str:
    """The object, or why it cannot be read."""
    try:
        return _READERS[resource](text)
    except ValueError as error:  # of msgspec, ipaddress and the protocol table
        return f"{resource.name.lower()}: {error}"


def _uid(text: msgspec.Raw) -> str:
    try:
        return _VERSIONED.decode(text).metadata.uid
    except msgspec.DecodeError:
        return ""


class _ListMeta(msgspec.Struct):
    uid: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    proceed: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Versioned(msgspec.Struct):
    metadata: _ListMeta


class _Status(msgspec.Struct):
    code: int = 0
    reason: str = ""
    message: str = ""


_PAGE: Final = msgspec.json.Decoder(_Page)
_EVENT: Final = msgspec.json.Decoder(_Event)
_VERSIONED: Final = msgspec.json.Decoder(_Versioned)
_STATUS: Final = msgspec.json.Decoder(_Status)


def _to_ns(time: datetime | None) -> int:
    return int(time.timestamp()) * _SECOND + time.microsecond * 1000 if time else 0


def _addresses(texts: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(to_address(text) for text in texts if text not in ("", "None"))


def _read_pod(raw: RawPod) -> Pod:
    meta, spec, status = raw.metadata, raw.spec, raw.status
    created = _to_ns(meta.creation_timestamp)
    ports = (port for container in spec.containers or () for port in container.ports or ())
    return Pod(
        uid=meta.uid,
        namespace=meta.namespace,
        name=meta.name,
        node=spec.node_name,
        addresses=() if spec.host_network else _addresses(address.ip for address in status.pod_ips or ()),
        created_ns=created,
        started_ns=max(created, _to_ns(status.start_time)),
        is_finished=status.phase in ("Succeeded", "Failed"),
        ended_by_ns=_ended_by(raw),
        owner=meta.owner(),
        template_hash=meta.label("pod-template-hash"),
        host_ports=() if spec.host_network else _published(ports, "host_port"),
    )


def _ended_by(raw: RawPod) -> int | None:
    """The latest end that its times allow: all containers have ended, or it is no longer ready, or was to be gone."""
    ends = [status.finished_at() for status in raw.status.container_statuses or ()]
    limits = [raw.metadata.deletion_timestamp]
    if ends and None not in ends:
        limits.append(max(end for end in ends if end))
    elif raw.status.phase in ("Succeeded", "Failed"):
        conditions = raw.status.conditions or ()
        limits += [each.last_transition_time for each in conditions if (each.type, each.status) == ("Ready", "False")]
    known = [_to_ns(limit) + _SECOND for limit in limits if limit]
    return min(known, default=None)


def _published(ports: Iterable[RawContainerPort], which: str) -> tuple[Port, ...]:
    return tuple(
        Port(_PROTOCOLS[port.protocol], number)
        for port in ports
        if (number := getattr(port, which)) and port.protocol in _PROTOCOLS
    )


def _read_service(raw: RawService) -> Service:
    meta, spec, balancer = raw.metadata, raw.spec, raw.status.load_balancer
    ingress = (balancer.ingress if balancer else None) or ()
    return Service(
        uid=meta.uid,
        namespace=meta.namespace,
        name=meta.name,
        created_ns=_to_ns(meta.creation_timestamp),
        cluster_ips=_addresses(spec.cluster_ips or ()),
        external_ips=_addresses([*(spec.external_ips or ()), *(entry.ip for entry in ingress)]),
        node_ports=_published(spec.ports or (), "node_port"),
    )


def _read_endpoint_slice(raw: RawEndpointSlice) -> EndpointSlice:
    targets = (endpoint.target_ref for endpoint in raw.endpoints or ())
    return EndpointSlice(
        uid=raw.metadata.uid,
        namespace=raw.metadata.namespace,
        service=raw.metadata.label("kubernetes.io/service-name"),
        pods=frozenset(target.uid for target in targets if target and target.kind == "Pod" and target.uid),
    )


def _read_node(raw: RawNode) -> Node:
    meta = raw.metadata
    addresses = raw.status.addresses or ()
    return Node(
        uid=meta.uid,
        name=meta.name,
        created_ns=_to_ns(meta.creation_timestamp),
        addresses=_addresses(each.address for each in addresses if each.type in ("InternalIP", "ExternalIP")),
        zone=meta.label("topology.kubernetes.io/zone"),
        pod_ranges=tuple(ipaddress.ip_network(text) for text in raw.spec.pod_cidrs or ()),
    )


def _read_replica_set(raw: RawReplicaSet) -> ReplicaSet:
    return ReplicaSet(raw.metadata.uid, raw.metadata.owner())


def _reader(struct: type[Any], convert: Callable[[Any], Object]) -> Callable[[msgspec.Raw], Object]:
    decoder = msgspec.json.Decoder(struct)
    return lambda text: convert(decoder.decode(text))


_READERS: Final = {
    Resource.NODES: _reader(RawNode, _read_node),
    Resource.REPLICA_SETS: _reader(RawReplicaSet, _read_replica_set),
    Resource.SERVICES: _reader(RawService, _read_service),
    Resource.PODS: _reader(RawPod, _read_pod),
    Resource.ENDPOINT_SLICES: _reader(RawEndpointSlice, _read_endpoint_slice),
}
