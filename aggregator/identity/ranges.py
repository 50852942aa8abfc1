"""Addresses to their class: pod, service, node, outside with its label; by what they are, never by who holds them now.

All ranges and single addresses are painted, in order of precedence, on one line of 2^128 addresses (IPv4 mapped); what
remains is a sorted list of segments, and a column of addresses is classified by one binary search.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from aggregator.identity.addresses import Words
from aggregator.identity.objects import Network
from aggregator.identity.reporter import AddressClass

WORLD: Final = "world"
"""The label of every outside address that no setting names."""

_MAPPED: Final = 0xFFFF << 32
_ALL: Final = 1 << 128
_LABELLESS: Final = (
    AddressClass.POD,
    AddressClass.SERVICE,
    AddressClass.NODE,
    AddressClass.MULTICAST,
    AddressClass.LINK_LOCAL,
)
_MULTICAST: Final = ("224.0.0.0/4", "255.255.255.255/32", "ff00::/8")
_LINK_LOCAL: Final = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "::/128", "::1/128", "fe80::/10")


@dataclass(frozen=True, slots=True)
class RangeSettings:
    """What the settings say of ranges. Outside ranges may overlap: the longest prefix names."""

    pods: tuple[Network, ...] = ()
    services: tuple[Network, ...] = ()
    labels: tuple[tuple[Network, str], ...] = ()

    @classmethod
    def parse(cls, *, pod_cidrs: str = "", service_cidrs: str = "", cidr_labels: str = "") -> "RangeSettings":
        """From the texts of KNI_POD_CIDRS, KNI_SERVICE_CIDRS and KNI_CIDR_LABELS. Raises: ValueError."""
        return cls(
            pods=tuple(parse_range(text, "KNI_POD_CIDRS") for text in _split(pod_cidrs)),
            services=tuple(parse_range(text, "KNI_SERVICE_CIDRS") for text in _split(service_cidrs)),
            labels=tuple(_parse_label(text) for text in _split(cidr_labels)),
        )


def parse_range(text: str, where: str) -> Network:
    """The range in a text. Raises: ValueError that says where it stood and what belongs there."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{where}: {error}; write a range such as 10.244.0.0/16 or fd00:10:244::/56") from error


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _parse_label(text: str) -> tuple[Network, str]:
    cidr, _, label = text.partition("=")
    if not label.strip():
        raise ValueError(f"KNI_CIDR_LABELS: {text!r} has no name; write RANGE=NAME such as 10.9.0.0/16=office")
    return parse_range(cidr.strip(), "KNI_CIDR_LABELS"), label.strip()


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the cluster itself says of its addresses; the sets hold 16-byte addresses."""

    pod_ranges: frozenset[Network] = field(default_factory=frozenset)
    cluster_ips: frozenset[bytes] = field(default_factory=frozenset)
    """The API server alone gives them: services even where nodes carry them, too (IPVS, a node-local DNS cache)."""
    external_ips: frozenset[bytes] = field(default_factory=frozenset)
    """External and load-balancer addresses; where one is a node's own, it is the node's."""
    node_addresses: frozenset[bytes] = field(default_factory=frozenset)


class Ranges:
    """The classes of all addresses. A region is a class, or a label of the outside."""

    def __init__(self, settings: RangeSettings, cluster: Cluster) -> None:
        self.labels: tuple[str, ...] = (WORLD, *sorted({label for _, label in settings.labels} - {WORLD}))
        """The label of each outside region; the regions behind them have a class and no label."""
        outside = [AddressClass.OUTSIDE] * len(self.labels)
        self.classes: npt.NDArray[np.uint8] = np.array([*outside, *_LABELLESS], "u1")
        """The class of each region."""
        starts, self._regions = _to_segments(list(self._paint(settings, cluster)))
        self._first = np.array([start >> 64 for start in starts], "u8")
        self._last = np.array([start & (1 << 64) - 1 for start in starts], "u8")
        # Where several segments begin in the same upper half (all of IPv4 does), the lower half decides.
        halves, begins, counts = np.unique(self._first, return_index=True, return_counts=True)
        is_split = (counts > 1) | (self._last[begins] > 0)
        self._splits = list(zip(halves[is_split], begins[is_split], (begins + counts)[is_split], strict=True))

    def _paint(self, settings: RangeSettings, cluster: Cluster) -> Iterable[tuple[int, int, int]]:
        def region(address_class: AddressClass) -> int:
            return len(self.labels) + _LABELLESS.index(address_class)

        for network, label in sorted(settings.labels, key=lambda labelled: _length(labelled[0])):
            yield *_span(network), self.labels.index(label)
        for ranges, address_class in (
            ((*settings.pods, *cluster.pod_ranges), AddressClass.POD),
            (settings.services, AddressClass.SERVICE),
        ):
            yield from ((*_span(network), region(address_class)) for network in ranges)
        for addresses, address_class in (
            (cluster.external_ips, AddressClass.SERVICE),
            (cluster.node_addresses, AddressClass.NODE),
            (cluster.cluster_ips, AddressClass.SERVICE),
        ):
            numbers = (int.from_bytes(address, "big") for address in addresses)
            yield from ((number, number + 1, region(address_class)) for number in numbers)
        for texts, address_class in ((_MULTICAST, AddressClass.MULTICAST), (_LINK_LOCAL, AddressClass.LINK_LOCAL)):
            yield from ((*_span(ipaddress.ip_network(text)), region(address_class)) for text in texts)

    def find(self, addresses: Words) -> npt.NDArray[np.int32]:
        """The region of each address."""
        numbers = addresses.view(">u8").astype("u8")
        first, last = numbers[:, 0], numbers[:, 1]
        places = np.searchsorted(self._first, first, side="right") - 1
        for half, begin, end in self._splits:
            rows = np.flatnonzero(first == half)
            places[rows] = begin - 1 + np.searchsorted(self._last[begin:end], last[rows], side="right")
        return self._regions[places]


def _length(network: Network) -> int:
    return network.prefixlen + (96 if network.version == 4 else 0)


def _span(network: Network) -> tuple[int, int]:
    """First address and the one behind the last, as numbers of 128 bits."""
    first = int(network.network_address) + (_MAPPED if network.version == 4 else 0)
    return first, first + network.num_addresses


def _to_segments(spans: Sequence[tuple[int, int, int]]) -> tuple[list[int], npt.NDArray[np.int32]]:
    """Where segments begin, and the region of each; later spans cover earlier ones, what none covers is region 0."""
    starts = sorted({0, *(edge for begin, end, _ in spans for edge in (begin, end))} - {_ALL})
    place = {start: number for number, start in enumerate(starts)}
    regions = np.zeros(len(starts), "i4")
    for begin, end, region in spans:
        regions[place[begin] : place.get(end, len(starts))] = region
    return starts, regions
