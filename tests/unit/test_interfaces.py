"""The node's interfaces to those worth counting at: every rule of the choice as links in, watched out."""

import pytest

from collector.interfaces import POD, UPLINK, check_uplinks, choose
from collector.netlink_messages import Link
from collector.settings import Settings, SettingsError, Uplink, read_settings

pytestmark = pytest.mark.unit

LO = Link(1, "lo")
ETH0 = Link(2, "eth0")
ETH1 = Link(3, "eth1", master=4)
BOND0 = Link(4, "bond0", kind="bond")
VLAN7 = Link(5, "eth0.7", kind="vlan", lower=2)
VLAN8 = Link(6, "bond0.8", kind="vlan", lower=4)
VETH_A = Link(10, "veth1a", kind="veth", master=20)
VETH_B = Link(11, "cali12", kind="veth")
BRIDGE = Link(20, "cni0", kind="bridge")
ALL = [LO, ETH0, ETH1, BOND0, VLAN7, VLAN8, VETH_A, VETH_B, BRIDGE]


def names_of(links: list[Link], default_route: set[int], **environment: str) -> dict[str, tuple[int, str]]:
    settings: Settings = read_settings({"KNI_NODE": "n", **environment})
    chosen = choose(links, default_route, settings=settings)
    return {watched.link.name: (watched.kind, watched.hook) for watched in chosen.values()}


def test_by_default_the_default_route_leads_out_and_every_veth_leads_to_a_pod() -> None:
    assert names_of(ALL, {2}) == {"eth0": (UPLINK, "auto"), "veth1a": (POD, "tc"), "cali12": (POD, "tc")}


def test_without_a_default_route_only_pods_are_watched() -> None:
    assert names_of([LO, ETH0, VETH_A], set()) == {"veth1a": (POD, "tc")}


def test_an_uplink_by_name_is_no_pod_even_when_it_is_a_veth() -> None:
    chosen = names_of([ETH0, VETH_A, VETH_B], set(), KNI_UPLINKS="veth1a=xdp")
    assert chosen == {"veth1a": (UPLINK, "xdp"), "cali12": (POD, "tc")}


def test_the_first_setting_that_fits_an_uplink_wins() -> None:
    assert names_of([ETH0, ETH1], set(), KNI_UPLINKS="eth0=tc,eth*=xdp") == {
        "eth0": (UPLINK, "tc"),
        "eth1": (UPLINK, "xdp"),
    }


@pytest.mark.parametrize(
    ("uplinks", "watched"),
    [
        ("eth1,bond0", {"bond0"}),
        ("eth0,eth0.7", {"eth0"}),
        ("bond0.8,bond0,eth1", {"bond0"}),
        ("eth0.7", {"eth0.7"}),
        ("eth1", {"eth1"}),
    ],
    ids=["a bond, not its port", "a parent, not its VLAN", "a bond under a VLAN", "a VLAN alone", "a port alone"],
)
def test_of_stacked_devices_one_is_watched(uplinks: str, watched: set[str]) -> None:
    assert set(names_of(ALL, set(), KNI_UPLINKS=uplinks, KNI_PODS="")) == watched


def test_pods_on_an_uplink_bridge_are_watched_beside_it() -> None:
    assert names_of([VETH_A, BRIDGE], {20}) == {"cni0": (UPLINK, "auto"), "veth1a": (POD, "tc")}


def test_pods_may_be_told_by_name_and_nothing_excluded_or_loopback_is_watched() -> None:
    assert names_of(ALL, {1, 2}, KNI_PODS="cali*", KNI_EXCLUDE="eth*") == {"cali12": (POD, "tc")}
    assert names_of(ALL, {1}, KNI_UPLINKS="*", KNI_EXCLUDE="[!l]*", KNI_PODS="*") == {}


def test_links_that_stand_on_each_other_in_a_circle_do_not_hang_the_choice() -> None:
    circle = [Link(2, "a", lower=3), Link(3, "b", lower=2)]
    settings = Settings(node="n", uplinks=(Uplink("a"),), pods=())
    assert set(choose(circle, set(), settings=settings)) == {2}


def complaint(uplinks: str) -> str:
    try:
        check_uplinks(ALL, read_settings({"KNI_NODE": "n", "KNI_UPLINKS": uplinks}))
    except SettingsError as error:
        return str(error)
    return ""


def test_an_uplink_by_name_must_be_there_one_by_glob_may_come_later() -> None:
    assert {uplinks: complaint(uplinks) for uplinks in ("eth0,bond0=tc", "eth9*,default-route", "")} == {
        "eth0,bond0=tc": "",
        "eth9*,default-route": "",
        "": "",
    }
    assert complaint("eth0,eth9=xdp").startswith("KNI_UPLINKS=eth9: the node has no such interface; it has ")
