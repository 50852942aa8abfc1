"""Drops of this node to the map that collects them: the tracepoint's link, and which namespaces are the node's."""

import os
import select
from typing import Final

from collector import bpf_syscall
from collector.drop_layout import DropSizes
from collector.links import detach_pin
from collector.netns_directory import NetnsChanges, NetnsDirectory
from collector.pins import Pins

LINK: Final = "link-on_drop"
_LOOK_NS: Final = 10**9


class DropWatch:
    """The drop side of one layout, attached."""

    def __init__(self, pins: Pins, directory: NetnsDirectory) -> None:
        self._map = pins["watched_netns"]
        self._directory = directory
        self._pin = pins.directory / LINK
        self._program = pins["on_drop"]
        self._looked_ns: int | None = None
        self._events = select.poll()
        self._events.register(directory, select.POLLIN)

    def attach(self, now_ns: int) -> None:
        """Watch the node's namespaces, and collect from now on; a link of an earlier process stays as it is.

        Raises: OSError.
        """
        first = self._directory.refresh(now_ns)
        known, _ = bpf_syscall.map_lookup_batch(self._map, DropSizes().namespaces, 4, 4)
        before = {int.from_bytes(known[place : place + 4], "little") for place in range(0, len(known), 4)}
        self._write(NetnsChanges(first.added, frozenset(before - first.added.keys())))
        if not self._pin.exists():
            link = bpf_syscall.raw_tracepoint_open("kfree_skb", self._program)
            try:
                bpf_syscall.object_pin(link, self._pin)
            finally:
                os.close(link)

    @property
    def is_waiting(self) -> bool:
        """Is a pod's namespace being made? Then call `follow` again within milliseconds."""
        return self._directory.is_waiting

    def follow(self, now_ns: int) -> None:
        """Take up pods' namespaces that came or went; cheap when none did."""
        is_due = self._looked_ns is None or now_ns - self._looked_ns >= _LOOK_NS
        if is_due or self.is_waiting or self._events.poll(0):
            self._looked_ns = now_ns
            self._write(self._directory.refresh(now_ns))

    def detach(self) -> None:
        """Collect no more."""
        detach_pin(self._pin)
        self._directory.close()

    def _write(self, changes: NetnsChanges) -> None:
        for inode, kind in changes.added.items():
            bpf_syscall.map_update(self._map, inode.to_bytes(4, "little"), int(kind).to_bytes(4, "little"))
        for inode in changes.removed:
            bpf_syscall.map_delete(self._map, inode.to_bytes(4, "little"))
