"""The node's interfaces to those worth counting at: which, as what, and by which hook. Pure.

A packet that passes two stacked devices of the node would be two observations of one place: of a bond and its ports, of
a VLAN and its parent, only one is watched.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from collector.netlink_messages import Link
from collector.settings import DEFAULT_ROUTE, VETHS, Settings, SettingsError, Uplink

UPLINK: Final = 0
POD: Final = 1
KINDS: Final = ("uplink", "pod")

_LOOPBACK: Final = "lo"
_GLOB: Final = frozenset("*?[")
_MASTERS: Final = ("bond", "team", "bridge")


@dataclass(frozen=True, slots=True)
class Watched:
    """An interface to count at."""

    link: Link
    kind: int
    """`UPLINK` or `POD`."""
    hook: str
    """What the setting asks for incoming packets: auto, xdp or tc; a pod's is always tc."""


def choose(links: Iterable[Link], default_route: set[int], *, settings: Settings) -> dict[int, Watched]:
    """The interfaces to watch, by ifindex; `default_route` holds those that the default routes lead through.

    An uplink by setting is no pod, whatever its kind; what is excluded is neither.
    """
    by_ifindex = {link.ifindex: link for link in links}
    allowed = [link for link in by_ifindex.values() if not _is_excluded(link, settings)]
    uplinks = {
        link.ifindex: Watched(link, UPLINK, uplink.hook)
        for link in allowed
        if (uplink := _to_uplink(link, default_route, uplinks=settings.uplinks)) is not None
    }
    for ifindex in list(_stacked(uplinks, by_ifindex)):
        uplinks.pop(ifindex, None)
    pods = {
        link.ifindex: Watched(link, POD, "tc")
        for link in allowed
        if link.ifindex not in uplinks and _is_pod(link, settings.pods)
    }
    return uplinks | pods


def check_uplinks(links: Iterable[Link], settings: Settings) -> None:
    """Raises: SettingsError for an uplink by name that is not there: it would go uncounted, and nobody would know."""
    names = {link.name for link in links}
    patterns = [uplink.pattern for uplink in settings.uplinks if uplink.pattern != DEFAULT_ROUTE]
    missing = next((name for name in patterns if not set(name) & _GLOB and name not in names), None)
    if missing is not None:
        there = ", ".join(sorted(names))
        raise SettingsError(f"KNI_UPLINKS={missing}: the node has no such interface; it has {there}")


def _is_excluded(link: Link, settings: Settings) -> bool:
    return link.name == _LOOPBACK or any(fnmatchcase(link.name, pattern) for pattern in settings.exclude)


def _to_uplink(link: Link, default_route: set[int], *, uplinks: tuple[Uplink, ...]) -> Uplink | None:
    """The first setting that the interface fits: a name wins over a later glob."""
    for uplink in uplinks:
        if link.ifindex in default_route if uplink.pattern == DEFAULT_ROUTE else fnmatchcase(link.name, uplink.pattern):
            return uplink
    return None


def _is_pod(link: Link, patterns: tuple[str, ...]) -> bool:
    return any(link.kind == "veth" if pattern == VETHS else fnmatchcase(link.name, pattern) for pattern in patterns)


def _stacked(chosen: Mapping[int, Watched], links: Mapping[int, Link]) -> Iterator[int]:
    """Those of the chosen that repeat another: ports of a chosen bond or bridge, and what stands on a chosen parent."""
    for ifindex in chosen:
        others = (*_above(ifindex, links), *_below(ifindex, links))
        if any(other in chosen for other in others):
            yield ifindex


def _above(ifindex: int, links: Mapping[int, Link]) -> Iterator[int]:
    """The bond or bridge that an interface is a port of, and what that is a port of."""
    seen = {ifindex}
    while (link := links.get(ifindex)) is not None and link.master not in seen:
        master = links.get(link.master)
        if master is None or master.kind not in _MASTERS:
            return
        yield master.ifindex
        seen.add(master.ifindex)
        ifindex = master.ifindex


def _below(ifindex: int, links: Mapping[int, Link]) -> Iterator[int]:
    """What an interface stands on: a VLAN's parent, and so on down."""
    seen = {ifindex}
    while (link := links.get(ifindex)) is not None and link.lower and link.lower not in seen:
        yield link.lower
        seen.add(link.lower)
        ifindex = link.lower
