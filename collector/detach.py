"""What this node's collector attached and pinned to nothing: `kubenetinsight detach`, and strays at a start.

Filters are known by their name, links and everything else by where they are pinned. Nothing of anybody else is touched.
"""

import argparse
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from collector.attach import CLSACT, DIRECTIONS, filter_name
from collector.bpffs import BpffsError
from collector.links import detach_pin
from collector.netlink import Netlink
from collector.netlink_messages import Link
from collector.pins import LockedError, NodeDirectory, remove
from collector.preflight import PreflightError, check_capabilities
from collector.settings import SettingsError, settings_of_process

_LINK: Final = "link-"


def find_filters(netlink: Netlink, node: str) -> Iterator[tuple[Link, int]]:
    """(interface, direction) of every TC filter of this node's collector."""
    for link in netlink.list_links():
        for direction in DIRECTIONS:
            if any(found.name == filter_name(node) for found in netlink.list_filters(link.ifindex, direction)):
                yield link, direction


def detach_strays(netlink: Netlink, directory: Path, *, node: str, kept: Collection[int]) -> list[str]:
    """Detach from every interface that is not in `kept` (ifindexes); what was detached, as text.

    An earlier process attached them: its settings were others, or the interface was told to be gone meanwhile.
    """
    done = []
    for link, direction in find_filters(netlink, node):
        if link.ifindex not in kept:
            netlink.detach(link.ifindex, direction)
            done.append(f"TC filter {filter_name(node)} on {link.name}")
    for pin in directory.glob(f"*/{_LINK}*-*"):
        place = pin.name.rpartition("-")[2]
        if not place.isdecimal() or int(place) not in kept:
            detach_pin(pin)
            done.append(f"BPF link {pin.name}")
    for mark in directory.glob(f"{CLSACT}*"):
        ifindex = int(mark.name.removeprefix(CLSACT))
        if ifindex not in kept:
            if not any(netlink.list_filters(ifindex, direction) for direction in DIRECTIONS):
                with suppress(OSError):  # the interface is gone
                    netlink.remove_clsact(ifindex)
            mark.rmdir()
    return done


def main(arguments: list[str]) -> int:
    """Remove what this node's collector left attached and pinned; the exit status is 1 when that can't be done."""
    parser = argparse.ArgumentParser(
        prog="kubenetinsight detach",
        description="Remove what this node's collector (KNI_NODE) attached and pinned, and nothing else.",
    )
    parser.add_argument("--list", action="store_true", help="show it, and leave it")
    is_listing = parser.parse_args(arguments).list
    try:
        settings = settings_of_process()
        status = Path("/proc/self/status").read_text("ascii")
        check_capabilities(status, enters_namespace=settings.netns is not None)
        netlink = Netlink(settings.netns)
        directory = NodeDirectory(settings.bpffs, settings.node)
    except (SettingsError, PreflightError, BpffsError, LockedError, OSError) as error:
        sys.stderr.write(f"kubenetinsight detach: {error}\n")
        return 1
    found = [
        f"TC filter {filter_name(settings.node)} on {link.name}" for link, _ in find_filters(netlink, settings.node)
    ]
    layouts = [directory.path / name for name in directory.layouts()]
    found += [f"{pin}" for layout in layouts for pin in sorted(layout.iterdir())]
    if not is_listing:
        detach_strays(netlink, directory.path, node=settings.node, kept=())
        for layout in layouts:
            remove(layout)
    directory.close()
    for line in found or [f"nothing of node {settings.node} is attached or pinned"]:
        sys.stdout.write(f"{'' if is_listing or not found else 'removed '}{line}\n")
    return 0
