"""Interfaces to hooks: what each setting becomes, what is there already, and what is nobody's business."""

import os
from collections.abc import Callable, Iterator
from functools import partial

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
BEFORE_ALL = 8
"""BPF_F_BEFORE"""


@pytest.fixture(scope="module")
def pins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pins]:
    with mounted(tmp_path_factory.mktemp("bpf") / "fs") as node, pinned(node, "v1-attach") as opened:
        yield opened


@pytest.fixture
def node() -> Iterator[Veths]:
    with veths(f"kcat{os.getpid()}") as made:
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


class Foreign:
    """A program at v0's TCX ingress that is not at home there."""

    def __init__(self, node: Veths, pins: Pins) -> None:
        self._node = node
        self._program = pins["tc_egress"]
        self._link = -1

    def come(self, *, flags: int = 0) -> None:
        ifindex = self._node.ifindex("v0")
        attach = partial(bpf_syscall.link_create, self._program, ifindex, attach_type=TCX_INGRESS, flags=flags)
        self._link = run_inside(self._node.path, attach)

    def go(self) -> None:
        os.close(self._link)


@pytest.fixture
def foreign(node: Veths, pins: Pins) -> Foreign:
    return Foreign(node, pins)


def order(node: Veths) -> list[int]:
    """Programs at v0's TCX ingress."""
    ifindex = node.ifindex("v0")
    return [program for program, _ in run_inside(node.path, lambda: bpf_syscall.program_query(ifindex, TCX_INGRESS))]


def test_ours_goes_before_foreign_tcx_programs_whenever_they_come(
    node: Veths, pins: Pins, attach: Callable[..., Attachment], *, foreign: Foreign
) -> None:
    ours, theirs = program_id(pins["tc_ingress"]), program_id(pins["tc_egress"])
    attacher = Attacher(pins, netlink := Netlink(node.path), node="kc-kernel")
    attachment = attach("v0", kind=POD, hook="tc")
    assert run_inside(node.path, lambda: attacher.uncover(attachment)) is None
    foreign.come()
    moved = run_inside(node.path, lambda: attacher.uncover(attachment))
    assert moved is not None
    assert (moved.hooks, moved.is_gapless) == ({0: "tcx", 1: "tc"}, False)
    assert order(node) == [ours, theirs]
    assert node.inside("tc", "filter", "show", "dev", "v0", "ingress") == ""
    assert run_inside(node.path, lambda: attacher.uncover(moved)) is None
    foreign.go()
    foreign.come(flags=BEFORE_ALL)
    assert order(node) == [theirs, ours]
    assert run_inside(node.path, lambda: attacher.uncover(moved)) == moved
    assert order(node) == [ours, theirs]
    foreign.go()
    netlink.close()


def test_native_xdp_stands_before_every_tcx_program(
    node: Veths, pins: Pins, attach: Callable[..., Attachment], *, foreign: Foreign
) -> None:
    attacher = Attacher(pins, netlink := Netlink(node.path), node="kc-kernel")
    attachment = attach("v0", kind=UPLINK, hook="xdp")
    foreign.come()
    assert run_inside(node.path, lambda: attacher.uncover(attachment)) is None
    foreign.go()
    netlink.close()


def test_when_the_foreign_program_has_gone_ours_stays_where_it_is_and_is_the_only_one(
    node: Veths, pins: Pins, attach: Callable[..., Attachment], *, foreign: Foreign
) -> None:
    foreign.come()
    attach("v0", kind=POD, hook="tc")
    foreign.go()
    again = attach("v0", kind=POD, hook="tc")
    assert (again.hooks, again.is_gapless) == ({0: "tcx", 1: "tc"}, True)
    assert node.inside("tc", "filter", "show", "dev", "v0", "ingress") == ""


def test_where_a_foreign_tcx_program_would_hide_a_filter_ours_stands_before_it(
    node: Veths, pins: Pins, attach: Callable[..., Attachment], *, foreign: Foreign
) -> None:
    foreign.come()
    attachment = attach("v0", kind=POD, hook="tc")
    assert attachment.hooks == {0: "tcx", 1: "tc"}
    assert order(node) == [program_id(pins["tc_ingress"]), program_id(pins["tc_egress"])]
    again = attach("v0", kind=POD, hook="tc")
    assert (again.hooks, again.is_gapless) == ({0: "tcx", 1: "tc"}, True)
    foreign.go()
