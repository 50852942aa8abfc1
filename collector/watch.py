"""Interfaces that come and go to what is attached: a thread of its own, so that a new pod is counted at once.

The kernel tells of an interface when it is made, before it is up: attaching within the event loses no packet. Events
are taken in bunches, and the choice is made once for each bunch: two hundred interfaces at once are ordinary on a node.
"""

import errno
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from collector.attach import Attacher, AttachError, Counted
from collector.interfaces import Watched, choose
from collector.logs import log
from collector.namespace import enter
from collector.netlink import Events, EventsLostError, Netlink
from collector.netlink_messages import Event, Gone, Link
from collector.pins import Pins
from collector.settings import DEFAULT_ROUTE, Settings
from collector.slots import Slots

_LOOK_AGAIN_NS: Final = 5 * 10**9
"""Default routes, and what else stands in the way of a refused interface, no event tells."""
_TICK_SECONDS: Final = 0.5
_VANISHED: Final = frozenset({errno.ENODEV, errno.ENXIO, errno.ENOENT})


class Watch:
    """What is attached, kept as the settings want it while interfaces come and go."""

    def __init__(
        self, settings: Settings, *, pins: Pins, attacher: Attacher, slots: Slots, now_ns: Callable[[], int]
    ) -> None:
        """Opens its sockets in the node's namespace. Raises: OSError when that can't be entered."""
        self._settings = settings
        self._events = Events(settings.netns)
        self._netlink = Netlink(settings.netns)
        self._pins = pins
        self._attacher = attacher
        self._slots = slots
        self._now_ns = now_ns
        self._links: dict[int, Link] = {}
        self._default_route: set[int] = set()
        self._looked_ns = 0
        self._stop = threading.Event()
        self._has_begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        # What follows is read by other threads: it is replaced as a whole, never changed.
        self.counted: dict[int, Counted] = {}
        """By ifindex."""
        self.refused: dict[str, str] = {}
        """Name of an interface that should be counted at and can't be: why."""
        self.addresses = b""
        """All of the node's own, 16 bytes each."""
        self.uncovered = 0
        """How often somebody else's program was found before ours: packets of before may be missing."""
        self.failure: BaseException | None = None
        """Why the thread ended, when nobody asked it to."""

    def start(self) -> None:
        """Attach to what is there, and go on with what comes.

        Raises: AttachError; then nothing that was not attached before is attached.
        """
        self._thread.start()
        self._has_begun.wait()
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """Follow no more; what is attached stays."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._events.close()
        self._netlink.close()

    def hook_of(self, ifindex: int, direction: int) -> str:
        """What an interface's hook is: xdp, tc, tcx; empty: not attached."""
        counted = self.counted.get(ifindex)
        return counted.attachment.hooks.get(direction, "") if counted else ""

    def withdraw(self) -> None:
        """Stop, and detach what this process attached: its start failed."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._undo()
        self.stop()

    def detach_all(self) -> None:
        """Count at no interface any more. Call before `stop`."""
        self._stop.set()
        self._thread.join()
        for counted in self.counted.values():
            self._attacher.detach(counted.attachment)
        self.counted = {}

    def _run(self) -> None:
        """The thread: it lives in the node's network namespace, where links are attached."""
        try:
            if self._settings.netns is not None:
                enter(self._settings.netns)
            self._begin()
            self._has_begun.set()
            while not self._stop.is_set():
                self._follow()
        except BaseException as failure:  # noqa: BLE001 - raised in the main thread, by start or by who looks
            self.failure = failure
        finally:
            self._has_begun.set()

    def _begin(self) -> None:
        self._look()
        chosen = choose(self._links.values(), self._default_route, settings=self._settings)
        try:
            for watched in chosen.values():
                self._count_at(watched)
        except (AttachError, OSError) as error:
            self._undo()
            raise AttachError(str(error)) from error
        if self._pins.counting_since_ns is None or not all(one.attachment.is_gapless for one in self.counted.values()):
            self._pins.set_counting_since(self._now_ns())

    def _follow(self) -> None:
        """Take one bunch of events, and do what follows from it."""
        try:
            events = self._events.receive(_TICK_SECONDS)
        except EventsLostError:
            log.warning("interface_events_lost", consequence="all interfaces are listed again")
            self._look()
            self._apply(is_gapless=False)
            return
        if self._now_ns() - self._looked_ns > _LOOK_AGAIN_NS:
            self._look()
            self._uncover()
            self._apply(is_gapless=True)
        if self._learn(events):
            self._apply(is_gapless=True)

    def _look(self) -> None:
        self._links = {link.ifindex: link for link in self._netlink.list_links()}
        if any(uplink.pattern == DEFAULT_ROUTE for uplink in self._settings.uplinks):
            self._default_route = self._netlink.list_default_route()
        self.addresses = b"".join(self._netlink.list_addresses())
        self._looked_ns = self._now_ns()

    def _learn(self, events: Iterable[Event]) -> bool:
        """Take events in; True: interfaces are other than before."""
        before = dict(self._links)
        addresses_changed = False
        for event in events:
            if isinstance(event, Link):
                self._links[event.ifindex] = event
            elif isinstance(event, Gone):
                self._links.pop(event.ifindex, None)
            else:
                addresses_changed = True
        if addresses_changed:
            self.addresses = b"".join(self._netlink.list_addresses())
        return self._links != before

    def _apply(self, *, is_gapless: bool) -> None:
        """Make what is attached what should be; not gapless: events were lost, a new interface may not be new."""
        chosen = choose(self._links.values(), self._default_route, settings=self._settings)
        for ifindex in [ifindex for ifindex in self.counted if ifindex not in chosen]:
            self._leave(ifindex)
        refused: dict[str, str] = {}
        fresh = False
        for ifindex, watched in chosen.items():
            if ifindex in self.counted:
                self._rename(watched)
                continue
            try:
                self._count_at(watched)
                fresh = True
            except (AttachError, OSError) as error:
                self._refuse(watched, error, refused=refused)
        self.refused = refused
        if fresh and not is_gapless:
            self._pins.set_counting_since(self._now_ns())

    def _count_at(self, watched: Watched) -> None:
        """Attach to one more interface. Raises: AttachError, OSError."""
        link = watched.link
        slot = self._slots.give(link.ifindex, kind=watched.kind, name=link.name, now_ns=self._now_ns())
        try:
            attachment = self._attacher.attach(watched)
        except (AttachError, OSError):
            self._slots.release(link.ifindex)
            raise
        since_ns = slot.counting_since_ns if attachment.is_gapless else self._now_ns()
        self.counted = {**self.counted, link.ifindex: Counted(attachment, since_ns)}
        hooks = "+".join(attachment.hooks[direction] for direction in sorted(attachment.hooks))
        log.info("attached", interface=link.name, ifindex=link.ifindex, hooks=hooks, note=attachment.note)

    def _uncover(self) -> None:
        """Go before programs that came before ours since the last look: nobody knows what they kept to themselves."""
        for ifindex, counted in self.counted.items():
            try:
                attachment = self._attacher.uncover(counted.attachment)
            except OSError:
                self._leave(ifindex)  # it is attached to anew, if it is still there
                self._apply(is_gapless=False)
                continue
            if attachment is not None:
                now_ns = self._now_ns()
                self._pins.set_counting_since(now_ns)
                self.counted = {**self.counted, ifindex: Counted(attachment, now_ns)}
                self.uncovered += 1
                log.warning("was_hidden", interface=attachment.watched.link.name, consequence="counting begins anew")

    def _leave(self, ifindex: int) -> None:
        counted = self.counted[ifindex]
        if ifindex in self._links:
            self._attacher.detach(counted.attachment)
        else:
            self._attacher.forget(counted.attachment)
        self._slots.release(ifindex)
        self.counted = {other: one for other, one in self.counted.items() if other != ifindex}
        log.info("detached", interface=counted.attachment.watched.link.name, ifindex=ifindex)

    def _rename(self, watched: Watched) -> None:
        """An interface keeps its hooks under another name."""
        ifindex, counted = watched.link.ifindex, self.counted[watched.link.ifindex]
        if watched.link.name != counted.attachment.watched.link.name:
            self._slots.give(ifindex, kind=watched.kind, name=watched.link.name, now_ns=counted.since_ns)
            renamed = replace(counted.attachment, watched=watched)
            self.counted = {**self.counted, ifindex: replace(counted, attachment=renamed)}

    def _refuse(self, watched: Watched, error: AttachError | OSError, *, refused: dict[str, str]) -> None:
        if isinstance(error, OSError) and error.errno in _VANISHED:
            return  # its end is among the next events
        refused[watched.link.name] = str(error)
        if watched.link.name not in self.refused:
            log.error("not_attached", interface=watched.link.name, reason=str(error))

    def _undo(self) -> None:
        """Detach what this start attached, and leave what an earlier process had attached."""
        for counted in self.counted.values():
            if not counted.attachment.is_gapless:
                with suppress(OSError):
                    self._attacher.detach(counted.attachment)
