"""Ranges: the class of an address, whoever holds it."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.identity.addresses import to_address, to_words
from aggregator.identity.ranges import Cluster, Ranges, RangeSettings
from aggregator.identity.reporter import AddressClass

SETTINGS = RangeSettings.parse(
    pod_cidrs="10.244.0.0/16, fd00:10:244::/56",
    service_cidrs="10.96.0.0/12,fd00:10:96::/112",
    cidr_labels="10.0.0.0/8=corporate,10.9.0.0/16=office,10.244.7.0/24=wrong,2001:db8::/32=partner",
)
CLUSTER = Cluster(
    pod_ranges=frozenset({ipaddress.ip_network("172.20.3.0/24")}),
    cluster_ips=frozenset(map(to_address, ("172.30.0.1", "172.30.0.2"))),
    external_ips=frozenset(map(to_address, ("203.0.113.9", "192.168.1.1"))),
    node_addresses=frozenset(map(to_address, ("192.168.1.1", "10.244.1.1", "172.30.0.2", "2001:db8::7"))),
)


def classify(text: str, settings: RangeSettings = SETTINGS, cluster: Cluster = CLUSTER) -> tuple[str, str]:
    ranges = Ranges(settings, cluster)
    region = int(ranges.find(to_words(to_address(text)))[0])
    label = ranges.labels[region] if region < len(ranges.labels) else ""
    return AddressClass(ranges.classes[region]).name, label


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("10.244.7.9", ("POD", ""), id="a pod range wins over a label, however narrow"),
        pytest.param("10.244.255.255", ("POD", ""), id="the last address of a pod range"),
        pytest.param("10.245.0.0", ("OUTSIDE", "corporate"), id="the first behind a pod range"),
        pytest.param("172.20.3.4", ("POD", ""), id="a node's pod range"),
        pytest.param("fd00:10:244:0:1::5", ("POD", ""), id="a pod in IPv6"),
        pytest.param("fd00:10:244:100::5", ("OUTSIDE", "world"), id="behind the pod range in IPv6"),
        pytest.param("10.111.255.255", ("SERVICE", ""), id="the service range"),
        pytest.param("fd00:10:96::ffff", ("SERVICE", ""), id="the last service in IPv6"),
        pytest.param("fd00:10:96::1:0", ("OUTSIDE", "world"), id="behind the service range in IPv6"),
        pytest.param("172.30.0.1", ("SERVICE", ""), id="a ClusterIP outside the ranges that are known"),
        pytest.param("172.30.0.2", ("SERVICE", ""), id="a ClusterIP that nodes carry, too"),
        pytest.param("203.0.113.9", ("SERVICE", ""), id="a load balancer's address"),
        pytest.param("192.168.1.1", ("NODE", ""), id="a load balancer's address that is a node's own"),
        pytest.param("10.244.1.1", ("NODE", ""), id="a node's bridge inside the pod range"),
        pytest.param("2001:db8::7", ("NODE", ""), id="a node inside a labelled range"),
        pytest.param("10.9.1.1", ("OUTSIDE", "office"), id="the longest labelled prefix"),
        pytest.param("10.8.1.1", ("OUTSIDE", "corporate"), id="a wider labelled prefix"),
        pytest.param("2001:db8::8", ("OUTSIDE", "partner"), id="a labelled range in IPv6"),
        pytest.param("8.8.8.8", ("OUTSIDE", "world"), id="the world"),
        pytest.param("2600::1", ("OUTSIDE", "world"), id="the world in IPv6"),
        pytest.param("224.0.0.251", ("MULTICAST", ""), id="multicast"),
        pytest.param("255.255.255.255", ("MULTICAST", ""), id="broadcast"),
        pytest.param("ff02::1", ("MULTICAST", ""), id="multicast in IPv6"),
        pytest.param("169.254.169.254", ("LINK_LOCAL", ""), id="link-local"),
        pytest.param("fe80::1", ("LINK_LOCAL", ""), id="link-local in IPv6"),
        pytest.param("::", ("LINK_LOCAL", ""), id="unspecified"),
        pytest.param("127.0.0.1", ("LINK_LOCAL", ""), id="loopback"),
    ],
)
def test_an_address_has_its_class(text: str, expected: tuple[str, str]) -> None:
    assert classify(text) == expected


def test_without_any_setting_everything_else_is_the_world() -> None:
    assert classify("10.244.7.9", RangeSettings(), Cluster()) == ("OUTSIDE", "world")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"pod_cidrs": "10.244.0.0/33"}, "KNI_POD_CIDRS: '10.244.0.0/33'"),
        ({"service_cidrs": "10.96.0.1/12"}, "KNI_SERVICE_CIDRS: 10.96.0.1/12 has host bits set"),
        ({"cidr_labels": "10.9.0.0/16"}, "KNI_CIDR_LABELS: '10.9.0.0/16' has no name"),
        ({"cidr_labels": "office=10.9.0.0/16"}, "KNI_CIDR_LABELS: 'office'"),
    ],
)
def test_a_wrong_setting_is_named(texts: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RangeSettings.parse(**texts)


addresses = st.ip_addresses()
networks = st.builds(
    lambda address, bits: ipaddress.ip_network((address, min(bits, address.max_prefixlen)), strict=False),
    addresses,
    st.integers(0, 128),
)


@given(st.lists(networks, max_size=30, unique=True), st.lists(addresses, min_size=1, max_size=30))
def test_the_longest_prefix_names_the_outside(
    labelled: list[ipaddress.IPv4Network | ipaddress.IPv6Network],
    asked: list[ipaddress.IPv4Address | ipaddress.IPv6Address],
) -> None:
    settings = RangeSettings(labels=tuple((network, f"range {network}") for network in labelled))
    for address in asked + [network.broadcast_address for network in labelled]:
        holding = [network for network in labelled if address.version == network.version and address in network]
        found = classify(str(address), settings, Cluster())
        if found[0] == "OUTSIDE" and not (address.version == 6 and address.ipv4_mapped):
            wide = [network for network in labelled if network.version == 6 and _holds_mapped(network, address)]
            best = max([*holding, *wide], key=_bits, default=None)
            assert found[1] == (f"range {best}" if best else "world")


def _bits(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> int:
    return network.prefixlen + (96 if network.version == 4 else 0)


def _holds_mapped(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network, address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> bool:
    return address.version == 4 and ipaddress.ip_address(f"::ffff:{address}") in network
