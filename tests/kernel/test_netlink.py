"""The routing socket to interfaces, addresses and routes, held against what iproute2 made and says."""

import json
import os
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from collector.netlink import Events, Netlink
from collector.netlink_messages import AddressChange, Event, Gone, Link
from tests.deadline import Eventually
from tests.kernel.collector_veths import Veths, run, veths


@pytest.fixture
def node() -> Iterator[Veths]:
    with veths(f"kcnl{os.getpid()}") as made:
        yield made


@pytest.fixture
def netlink(node: Veths) -> Iterator[Netlink]:
    opened = Netlink(node.path)
    yield opened
    opened.close()


def mapped(*addresses: str) -> list[bytes]:
    numbers = [ip_address(address) for address in addresses]
    return sorted(b"\0" * 10 + b"\xff\xff" + n.packed if n.version == 4 else n.packed for n in numbers)


def test_interfaces_of_the_nodes_namespace_are_listed_with_kind_master_and_parent(
    node: Veths, netlink: Netlink
) -> None:
    node.add("va")
    run("ip", "-n", node.node, "link", "add", "br0", "type", "bridge")
    run("ip", "-n", node.node, "link", "set", "va", "master", "br0")
    found = {link.name: link for link in netlink.list_links()}
    told = json.loads(run("ip", "-n", node.node, "-json", "-details", "link"))
    assert {name: link.ifindex for name, link in found.items()} == {one["ifname"]: one["ifindex"] for one in told}
    assert (found["va"].kind, found["br0"].kind, found["lo"].kind) == ("veth", "bridge", "")
    assert found["va"].master == found["br0"].ifindex
    assert found["va"].lower == 0


def test_addresses_of_all_interfaces_are_listed_mapped_and_once(node: Veths, netlink: Netlink) -> None:
    node.add("va")
    run("ip", "-n", node.node, "link", "add", "br0", "type", "bridge")
    run("ip", "-n", node.node, "link", "set", "lo", "up")
    for address, device in (("10.9.8.7/24", "va"), ("10.9.8.7/32", "br0"), ("fd00:9::7/64", "br0")):
        run("ip", "-n", node.node, "address", "add", address, "dev", device)
    listed = netlink.list_addresses()
    assert [one for one in listed if one[:2] != b"\xfe\x80"] == mapped("10.9.8.7", "fd00:9::7", "127.0.0.1", "::1")


def test_interfaces_of_default_routes_are_found_and_no_others(node: Veths, netlink: Netlink) -> None:
    uplink, other = node.add("va"), node.add("vb")
    assert netlink.list_default_route() == set()
    run("ip", "-n", node.node, "address", "add", "10.9.0.1/24", "dev", "va")
    run("ip", "-n", node.node, "address", "add", "10.10.0.1/24", "dev", "vb")
    run("ip", "-n", node.node, "route", "add", "10.99.0.0/16", "via", "10.10.0.9")
    run("ip", "-n", node.node, "route", "add", "default", "via", "10.9.0.9")
    assert netlink.list_default_route() == {uplink}
    run("ip", "-n", node.node, "-6", "route", "add", "default", "dev", "vb")
    assert netlink.list_default_route() == {uplink, other}


def test_interfaces_that_come_change_and_go_are_told_as_they_do(node: Veths, eventually: Eventually) -> None:
    events = Events(node.path)
    told: list[Event] = []

    def has(wanted: Event) -> bool:
        told.extend(events.receive(0.05))
        return wanted in told

    ifindex = node.add("va")
    eventually(lambda: has(Link(ifindex, "va", kind="veth")), within_seconds=5)
    run("ip", "-n", node.node, "address", "add", "10.9.0.1/24", "dev", "va")
    eventually(lambda: has(AddressChange()), within_seconds=5)
    run("ip", "-n", node.node, "link", "set", "va", "netns", node.peer)
    eventually(lambda: has(Gone(ifindex)), within_seconds=5)
    events.close()


def test_a_namespace_that_is_none_is_refused() -> None:
    with pytest.raises(OSError, match="nowhere"):
        Netlink(Path("/run/netns/nowhere"))


def test_filters_of_an_interface_without_a_hook_are_none(node: Veths, netlink: Netlink) -> None:
    assert netlink.list_filters(node.add("va"), 0) == []
    assert netlink.list_filters(9999, 0) == []
