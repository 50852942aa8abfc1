"""Settings to a running collector and back to nothing: the order in which its parts begin and end.

Beginning, whatever can be refused comes before whatever is attached. Ending, counting stops first, then all that was
counted goes to Kafka, then the pins go: nothing is lost on the way. What Kafka does not take stays pinned.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import msgspec

from collector import bpf_syscall
from collector.attach import Attacher
from collector.btf import VMLINUX, Btf
from collector.clock import Clock
from collector.detach import detach_strays
from collector.drop_layout import drop_reasons
from collector.drop_watch import LINK, DropWatch
from collector.generation import Generation, Node
from collector.health import Doors
from collector.interfaces import check_uplinks
from collector.inventory import Announcer
from collector.links import detach_pin
from collector.listen_overflows import ListenOverflows
from collector.loader import LAYOUT_VERSION, layout_name, load_in_child
from collector.logs import log
from collector.loop import Loop
from collector.namespace import run_inside
from collector.netlink import Netlink
from collector.netns_directory import OWN_NAMESPACE, NetnsDirectory
from collector.pins import LOADING, NodeDirectory, Pins, PinsError, remove
from collector.publish import Publisher
from collector.report import Identity, to_inventory, to_state
from collector.settings import Settings
from collector.state import State
from collector.watch import Watch
from schemas.topics import COLLECTORS

_ANNOUNCE_NS: Final = 10**9
_INVENTORY_SCHEMA: Final = "collectors/1"


class Service:
    """One node's collector."""

    def __init__(
        self, settings: Settings, identity: Identity, *, clock: Clock, is_stopping: Callable[[], bool]
    ) -> None:
        """Begins; what can't begin leaves nothing behind. Raises: the errors of its parts, each for the user."""
        self._is_stopping = is_stopping
        self._settings = settings
        self._identity = identity
        self._clock = clock
        self._announcer = Announcer()
        self._announced_ns = 0
        with ExitStack() as undo:
            self._doors = Doors(settings.listen, self.state)
            undo.callback(self._doors.stop)
            self._netlink = Netlink(settings.netns)
            undo.callback(self._netlink.close)
            check_uplinks(self._netlink.list_links(), settings)
            self._directory = NodeDirectory(settings.bpffs, settings.node)
            undo.callback(self._directory.close)
            active, old = self._open_layouts(undo)
            self._begin(active, old, undo=undo)
            undo.pop_all()
        self._doors.start()

    @property
    def address(self) -> tuple[str, int]:
        """Where its doors are."""
        return self._doors.address

    def state(self) -> State:
        """What it knows of itself now."""
        return to_state(self._identity, self._loop, watch=self._watch, clock=self._clock)

    def turn(self) -> None:
        """One round of its loop."""
        if self._watch.failure is not None:
            raise self._watch.failure
        self._loop.turn()
        now = self._clock.now_ns()
        if now - self._announced_ns >= _ANNOUNCE_NS:
            self._announced_ns = now
            self._announce()

    def stop(self, is_given_up: Callable[[], bool]) -> str | None:
        """Count no more, send everything, remove everything; what could not be sent stays pinned, and is told."""
        self._watch.detach_all()
        self._drops.detach()
        bpf_syscall.membarrier_global()  # a hook that was running when it was detached has ended
        self._loop.active.pins.retire()
        is_done = self._loop.finish(is_given_up)
        left = None if is_done else self._left_behind()
        self._watch.stop()
        self._netlink.close()
        self._directory.close()
        self._doors.stop()
        return left

    def _open_layouts(self, undo: ExitStack) -> tuple[Pins, list[Pins]]:
        """The layout that counts from now on, loaded if it is not there, and those to be closed. Raises: PinsError."""
        wanted = layout_name(self._settings)
        found = self._directory.layouts()
        unknown = [name for name in found if f"v{LAYOUT_VERSION}-" not in name]
        if unknown:
            raise PinsError(
                f"{self._directory.path / unknown[0]} was pinned by another version of the collector, which this one "
                "can't read: stop it with its own version, or give its records up by `kubenetinsight detach`"
            )
        if wanted not in found:
            log.info("loading", layout=wanted)
            load_in_child(self._directory.path / LOADING, is_stopping=self._is_stopping)
            (self._directory.path / LOADING).rename(self._directory.path / wanted)
            if not found:
                undo.callback(remove, self._directory.path / wanted)
        old = [Pins(self._directory.path / name) for name in found if name != wanted]
        return Pins(self._directory.path / wanted), old

    def _begin(self, active: Pins, old: list[Pins], *, undo: ExitStack) -> None:
        settings, clock = self._settings, self._clock
        namespaces = NetnsDirectory(settings.netns_directory, settings.netns or OWN_NAMESPACE)
        node = Node(
            name=settings.node,
            boot_id=self._identity.boot_id,
            clock=clock,
            reasons=drop_reasons(Btf(VMLINUX.read_bytes())),
            hook_of=self._hook_of,
            addresses=lambda: self._watch.addresses,
            listen_overflows=run_inside(settings.netns, ListenOverflows).read,
        )
        generation = Generation(active, node)
        closing = [Generation(pins, node) for pins in old]
        attacher = Attacher(active, self._netlink, node=settings.node)
        self._watch = Watch(settings, pins=active, attacher=attacher, slots=generation.slots, now_ns=clock.now_ns)
        undo.callback(self._watch.withdraw)
        self._watch.start()
        for pins in old:
            detach_pin(pins.directory / LINK)
        self._drops = DropWatch(active, namespaces)
        self._drops.attach(clock.now_ns())
        detach_strays(self._netlink, self._directory.path, node=settings.node, kept=self._watch.counted.keys())
        self._loop = Loop(
            generation,
            closing,
            new_publisher=lambda: Publisher(settings.kafka, client_id=f"kubenetinsight-collector-{settings.node}"),
            drops=self._drops,
            clock=clock,
        )

    def _hook_of(self, ifindex: int, direction: int) -> str:
        return self._watch.hook_of(ifindex, direction)

    def _announce(self) -> None:
        """Tell what is watched, on change and now and then."""
        inventory = to_inventory(self._identity, self._loop, watch=self._watch, clock=self._clock)
        if self._announcer.is_due(inventory, now_ns=self._clock.now_ns()):
            was_taken = self._loop.publisher.send(
                COLLECTORS,
                msgspec.json.encode(inventory),
                key=self._settings.node,
                schema=_INVENTORY_SCHEMA,
                on_delivery=self._announcer.answer,
            )
            if not was_taken:
                self._announcer.answer("no room")

    def _left_behind(self) -> str:
        waiting = sum(one.flows.unacknowledged + one.drops.unacknowledged for one in self._loop.closing)
        held = sum(one.scan.held_packets for one in self._loop.closing)
        return (
            f"{waiting} records and {held} packets in the table stay pinned in {self._directory.path}, because Kafka "
            f"at {self._settings.kafka} does not acknowledge ({self._loop.publisher.last_error or 'no error told'}): "
            "the next start of this node's collector sends them"
        )
