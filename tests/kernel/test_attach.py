"""Interfaces to hooks: what each setting becomes, what is there already, and what is nobody's business."""

import os
from collections.abc import Callable, Iterator

import pytest

from collector import bpf_syscall
from collector.attach import Attacher, AttachError, Attachment
from collector.interfaces import POD, UPLINK, Watched
from collector.links import program_id
from collector.namespace import run_inside
from collector.netlink import Netlink
from collector.pins import Pins
from tests.kernel.collector_pins import mounted, pinned
from tests.kernel.collector_veths import Veths, veths

TCX_INGRESS = 46


@pytest.fixture(scope="module")
def pins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pins]:
    with mounted(tmp_path_factory.mktemp("bpf") / "fs") as node, pinned(node, "v1-attach") as opened:
        yield opened


@pytest.fixture
def node() -> Iterator[Veths]:
    with veths("kcat") as made:
        made.add("v0")
        yield made


@pytest.fixture
def attach(node: Veths, pins: Pins) -> Iterator[Callable[..., Attachment]]:
    """Attaches to an interface of the node, and detaches at the end."""
    netlink = Netlink(node.path)
    attacher = Attacher(pins, netlink, node="kc-kernel")
    done: list[Attachment] = []

    def to(name: str, *, kind: int, hook: str, node_name: str = "kc-kernel") -> Attachment:
        link = next(one for one in netlink.list_links() if one.name == name)
        this = attacher if node_name == "kc-kernel" else Attacher(pins, netlink, node=node_name)
        done.append(run_inside(node.path, lambda: this.attach(Watched(link, kind, hook))))
        return done[-1]

    yield to
    for attachment in done:
        attacher.detach(attachment)
    assert hooks(node) == ""
    netlink.close()


def hooks(node: Veths) -> str:
    """What tc and ip show of v0."""
    shown = [
        *(node.inside("tc", "filter", "show", "dev", "v0", direction) for direction in ("ingress", "egress")),
        node.inside("tc", "qdisc", "show", "dev", "v0", "clsact"),
        node.inside("ip", "-details", "link", "show", "dev", "v0"),
    ]
    return "\n".join(line for line in "".join(shown).splitlines() if "xdp" in line or "bpf" in line or "clsact" in line)


@pytest.mark.parametrize(
    ("kind", "hook", "became", "note"),
    [
        (POD, "tc", {0: "tc", 1: "tc"}, ""),
        (UPLINK, "tc", {0: "tc", 1: "tc"}, ""),
        (UPLINK, "xdp", {0: "xdp", 1: "tc"}, ""),
        (UPLINK, "auto", {0: "tc", 1: "tc"}, "segmentation offload"),
    ],
)
def test_a_setting_becomes_a_hook(
    attach: Callable[..., Attachment], kind: int, hook: str, *, became: dict[int, str], note: str
) -> None:
    attachment = attach("v0", kind=kind, hook=hook)
    assert attachment.hooks == became
    assert note in attachment.note
    assert not attachment.is_gapless


def test_what_is_attached_already_stays_as_it_is(node: Veths, attach: Callable[..., Attachment]) -> None:
    attach("v0", kind=UPLINK, hook="xdp")
    before = hooks(node)
    again = attach("v0", kind=UPLINK, hook="xdp")
    assert again.is_gapless
    assert hooks(node) == before
    assert before.count("kubenetinsight:kc-kernel") == 1


def test_a_driver_that_refuses_native_xdp_is_told_and_auto_takes_tc(
    node: Veths, attach: Callable[..., Attachment]
) -> None:
    node.inside("ip", "link", "add", "br0", "type", "bridge")
    with pytest.raises(AttachError, match="native XDP can't be attached to br0: its driver has no native XDP"):
        attach("br0", kind=UPLINK, hook="xdp")
    attachment = attach("br0", kind=UPLINK, hook="auto")
    assert (attachment.hooks, attachment.note) == ({0: "tc", 1: "tc"}, "its driver has no native XDP")


def test_an_interface_of_another_node_is_refused_and_nothing_of_it_changes(
    node: Veths, attach: Callable[..., Attachment]
) -> None:
    attach("v0", kind=POD, hook="tc")
    before = hooks(node)
    with pytest.raises(AttachError, match="already counted at, by the TC filter kubenetinsight:kc-kernel"):
        attach("v0", kind=UPLINK, hook="xdp", node_name="kc-other")
    assert hooks(node) == before


def test_a_foreign_filter_and_its_clsact_stay_when_ours_goes(
    node: Veths, pins: Pins, attach: Callable[..., Attachment]
) -> None:
    program = str(pins.directory / "tc_ingress")
    node.inside("tc", "qdisc", "add", "dev", "v0", "clsact")
    node.inside("tc", "filter", "add", "dev", "v0", "ingress", "prio", "9", "bpf", "da", "object-pinned", program)
    attacher = Attacher(pins, netlink := Netlink(node.path), node="kc-kernel")
    attacher.detach(attach("v0", kind=POD, hook="tc"))
    left = hooks(node)
    assert "pref 9" in left
    assert "clsact" in left
    assert "kubenetinsight" not in left
    node.inside("tc", "qdisc", "del", "dev", "v0", "clsact")
    netlink.close()


def test_an_interface_that_moves_away_takes_no_program_along(
    node: Veths, pins: Pins, attach: Callable[..., Attachment]
) -> None:
    attachment = attach("v0", kind=UPLINK, hook="xdp")
    netlink = Netlink(node.path)
    node.inside("ip", "link", "set", "v0", "netns", node.peer)
    Attacher(pins, netlink, node="kc-kernel").forget(attachment)
    assert "xdp" not in node.from_peer("ip", "-details", "link", "show", "dev", "v0")
    assert [pin.name for pin in pins.directory.glob("link-*")] == []
    node.from_peer("ip", "link", "set", "v0", "netns", node.node)
    netlink.close()


def test_where_a_foreign_tcx_program_would_hide_a_filter_ours_stands_before_it(
    node: Veths, pins: Pins, attach: Callable[..., Attachment]
) -> None:
    ifindex = node.ifindex("v0")
    foreign = run_inside(
        node.path, lambda: bpf_syscall.link_create(pins["tc_egress"], ifindex, attach_type=TCX_INGRESS)
    )
    attachment = attach("v0", kind=POD, hook="tc")
    assert attachment.hooks == {0: "tcx", 1: "tc"}
    programs = run_inside(node.path, lambda: bpf_syscall.program_query(ifindex, TCX_INGRESS))
    assert [program for program, _ in programs] == [program_id(pins["tc_ingress"]), program_id(pins["tc_egress"])]
    again = attach("v0", kind=POD, hook="tc")
    assert (again.hooks, again.is_gapless) == ({0: "tcx", 1: "tc"}, True)
    os.close(foreign)
