"""Interfaces to hooks: where our programs see packets come in and go out.

Pods' veths and whatever goes out: TC, by clsact. What comes in at an uplink: native XDP, where the driver has it and
nobody else's program is there; never generic XDP, which sees super-packets without their segments. Nobody's program is
ever replaced. All that is attached stays through a kill: filters by themselves, links by their pins.
"""

import errno
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from collector.interfaces import UPLINK, Watched
from collector.links import TCX, XDP, Links, program_id
from collector.netlink import Netlink
from collector.netlink_messages import EGRESS, INGRESS, Link
from collector.pins import Pins

DIRECTIONS: Final = (INGRESS, EGRESS)
_TC_PROGRAMS: Final = {INGRESS: "tc_ingress", EGRESS: "tc_egress"}
CLSACT: Final = "clsact-"
_FILTER_PREFIX: Final = "kubenetinsight:"
_FOREIGN_XDP: Final = frozenset({errno.EBUSY, errno.EEXIST})
_GONE: Final = frozenset({errno.ENODEV, errno.ENXIO})


class AttachError(Exception):
    """The interface can't be counted at as asked; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """An interface that is counted at."""

    watched: Watched
    hooks: dict[int, str]
    """Direction to what it became: xdp, tc or tcx."""
    note: str
    """Why it is not what was asked for; empty when it is."""
    is_gapless: bool
    """It was attached already, by an earlier process: no packet passed uncounted in between."""


@dataclass(frozen=True, slots=True)
class Counted:
    """An interface that is counted at, and since when (monotonic)."""

    attachment: Attachment
    since_ns: int


class Attacher:
    """Attaches the programs of one layout, and takes over what other layouts of the node have attached."""

    def __init__(self, pins: Pins, netlink: Netlink, *, node: str) -> None:
        self._pins = pins
        self._netlink = netlink
        self._links = Links(pins.directory)
        self._filter_name = filter_name(node)
        self._program_ids = {name: program_id(pins[name]) for name in ("xdp_ingress", *_TC_PROGRAMS.values())}

    def attach(self, watched: Watched) -> Attachment:
        """Count at an interface from now on. The calling thread must be in the node's network namespace.

        Raises: AttachError, when it can't be done as asked; OSError (ENODEV), when the interface went meanwhile.
        """
        ifindex = watched.link.ifindex
        hooks: dict[int, str] = {}
        note, gapless = "", True
        if watched.kind == UPLINK and watched.hook != "tc":
            note, gapless = self._attach_xdp(watched)
            if not note:
                hooks[INGRESS] = XDP
        for direction in self._tcx_programs(ifindex).keys() - hooks.keys():
            hooks[direction] = "tcx"
            program = self._pins[_TC_PROGRAMS[direction]]
            gapless &= self._links.attach(TCX[direction], ifindex, program=program)
        filters = [direction for direction in DIRECTIONS if direction not in hooks]
        try:
            gapless &= self._attach_filters(watched.link, filters)
        except (AttachError, OSError):
            for hook in (XDP, *TCX):
                self._links.detach(hook, ifindex)
            raise
        return Attachment(watched, hooks | dict.fromkeys(filters, "tc"), note, gapless)

    def uncover(self, attachment: Attachment) -> Attachment | None:
        """Go before somebody else's TCX program that came later; None: nothing is before ours, nothing was changed.

        What that program kept to itself was not counted. The calling thread must be in the node's network namespace.

        Raises: OSError; then nothing may be left attached in that direction.
        """
        ifindex = attachment.watched.link.ifindex
        hidden = [
            direction
            for direction, programs in self._tcx_programs(ifindex).items()
            if attachment.hooks[direction] != XDP and programs[0] != self._program_ids[_TC_PROGRAMS[direction]]
        ]
        if not hidden:
            return None
        # Ours goes first: two of them would count every packet twice.
        self._remove_filters(ifindex, [direction for direction in hidden if attachment.hooks[direction] == "tc"])
        for direction in hidden:
            self._links.detach(TCX[direction], ifindex)
            self._links.attach(TCX[direction], ifindex, program=self._pins[_TC_PROGRAMS[direction]])
        return replace(attachment, hooks=attachment.hooks | dict.fromkeys(hidden, "tcx"), is_gapless=False)

    def detach(self, attachment: Attachment) -> None:
        """Count at an interface no more. Only what is ours goes; a clsact goes when it was ours and nobody uses it."""
        ifindex = attachment.watched.link.ifindex
        self._remove_filters(ifindex, [direction for direction, hook in attachment.hooks.items() if hook == "tc"])
        for hook in (XDP, *TCX):
            self._links.detach(hook, ifindex)

    def forget(self, attachment: Attachment) -> None:
        """The interface was deleted or moved away. Filters go by themselves; links would go on counting elsewhere."""
        ifindex = attachment.watched.link.ifindex
        for hook in (XDP, *TCX):
            self._links.detach(hook, ifindex)
        with suppress(FileNotFoundError):
            self._mark(ifindex).rmdir()

    def _tcx_programs(self, ifindex: int) -> dict[int, list[int]]:
        """Directions with TCX programs, in their order: a filter of ours comes behind them, if they let the packet."""
        programs = self._links.tcx_programs(ifindex)
        return {direction: found for direction in DIRECTIONS if (found := programs.get(TCX[direction]))}

    def _attach_xdp(self, watched: Watched) -> tuple[str, bool]:
        """Why it can't be XDP (empty: it is), and whether it was before. Raises: AttachError, when it must be."""
        link = watched.link
        if watched.hook == "auto" and link.kind == "veth":
            return "native XDP on a veth would switch its segmentation offload off", True
        try:
            return "", self._links.attach(XDP, link.ifindex, program=self._pins["xdp_ingress"])
        except OSError as error:
            if error.errno in _GONE:
                raise
            reason = _xdp_reason(link, error)
            if watched.hook == "auto":
                return reason, True
            raise AttachError(
                f"native XDP can't be attached to {link.name}: {reason}; remove what is in the way, "
                f"or set KNI_UPLINKS={link.name}=tc (or =auto)"
            ) from error

    def _attach_filters(self, link: Link, directions: Iterable[int]) -> bool:
        """Attach TC filters; True: all were there. Raises: AttachError, OSError."""
        programs = {direction: self._pins[_TC_PROGRAMS[direction]] for direction in directions}
        made, errors = self._netlink.attach(link.ifindex, programs, name=self._filter_name)
        if made:
            self._mark(link.ifindex).mkdir(exist_ok=True)
        try:
            self._settle_filters(link, errors)
        except (AttachError, OSError):
            self._remove_filters(link.ifindex, [direction for direction, code in errors.items() if not code])
            raise
        return all(code == errno.EEXIST for code in errors.values())

    def _settle_filters(self, link: Link, errors: dict[int, int]) -> None:
        for direction, code in errors.items():
            if code == errno.EEXIST:
                self._take_over_filter(link, direction)
            elif code:
                raise OSError(code, f"TC can't be attached to {link.name}")

    def _take_over_filter(self, link: Link, direction: int) -> None:
        found = next((one for one in self._netlink.list_filters(link.ifindex, direction) if one.is_at_our_place), None)
        program = _TC_PROGRAMS[direction]
        if found is None or found.name != self._filter_name:
            raise AttachError(
                f"{link.name} is already counted at, by the TC filter {found.name if found else '?'}: an interface "
                "belongs to one node; stop the other node's collector, or take the interface out of one's settings"
            )
        if found.program_id != self._program_ids[program]:
            self._netlink.replace(link.ifindex, direction, program=self._pins[program], name=self._filter_name)

    def _remove_filters(self, ifindex: int, directions: Iterable[int]) -> None:
        for direction in directions:
            with suppress(OSError):  # the interface is gone, and the filter with it
                self._netlink.detach(ifindex, direction)
        mark = self._mark(ifindex)
        if not mark.exists():
            return
        left = [one.name for direction in DIRECTIONS for one in self._netlink.list_filters(ifindex, direction)]
        if any(name.startswith(_FILTER_PREFIX) for name in left):
            return
        if not left:
            with suppress(OSError):
                self._netlink.remove_clsact(ifindex)
        mark.rmdir()

    def _mark(self, ifindex: int) -> Path:
        """Exists when an interface's clsact is ours, of whatever layout."""
        return self._pins.directory.parent / f"{CLSACT}{ifindex}"


def filter_name(node: str) -> str:
    """What our TC filters of a node are called."""
    return f"{_FILTER_PREFIX}{node}"


def _xdp_reason(link: Link, error: OSError) -> str:
    if error.errno in _FOREIGN_XDP:
        return (
            f"another XDP program (id {link.xdp_program}) is attached" if link.xdp_program else "another XDP is there"
        )
    if error.errno == errno.EOPNOTSUPP:
        return "its driver has no native XDP"
    return f"the kernel refuses ({error.strerror}); a large MTU or offloads may be in the way"
