"""Kubernetes' list + watch to events: what is there, then each change, and after a gap the whole list again.

A thread a resource. A watch begins at the version where the list ended, so nothing between them is missed; when the
server has forgotten that version (410) everything is listed anew, and `Listed` tells what was deleted meanwhile. What
fails is tried again, with a pause that doubles up to half a minute, at random so that many workers do not come at once.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from aggregator.identity.kubernetes_api import ApiError, KubernetesApi, connect
from aggregator.identity.kubernetes_json import Line, decode_line, decode_page
from aggregator.identity.objects import Changed, Deleted, Event, Listed, Resource

if TYPE_CHECKING:
    import queue
    from collections.abc import Callable
    from random import Random

    Events = queue.SimpleQueue[Event]
    Clock = Callable[[], int]

PAGE: Final = 500
EXPIRED: Final = 410
_REFUSALS: Final = (401, 403, 404)
_WATCH_SECONDS: Final = (240, 480)
_PAUSE_SECONDS: Final = (0.5, 30.0)


class WatchRefusedError(Exception):
    """The API server does not let us see what is needed. The message is for the user."""


class Tally:
    """What happened in all threads: counts by resource and kind, and each resource's trouble of now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._troubles: dict[str, str] = {}

    def count(self, resource: Resource, kind: str, *, number: int = 1) -> None:
        """Something happened so many times."""
        with self._lock:
            self._counts[resource.name.lower(), kind] += number

    def trouble(self, resource: Resource, text: str) -> None:
        """A resource is in trouble; an empty text: no longer."""
        with self._lock:
            if text:
                self._troubles[resource.name.lower()] = text
            else:
                self._troubles.pop(resource.name.lower(), None)

    def counts(self) -> dict[tuple[str, str], int]:
        """Since the start, by resource and kind: events, lists, unreadable, and failures by reason."""
        with self._lock:
            return dict(self._counts)

    def troubles(self) -> dict[str, str]:
        """By resource, what keeps it from being up to date."""
        with self._lock:
            return dict(self._troubles)


class ResourceWatch:
    """Follows one resource until it is stopped."""

    def __init__(self, api: KubernetesApi, resource: Resource, *, events: Events, tally: Tally, clock: Clock) -> None:
        self._api = api
        self._resource = resource
        self._events = events
        self._tally = tally
        self._clock = clock
        self._version = ""
        self._limit = PAGE

    def run(self, stopping: threading.Event, random: Random) -> None:
        """List and watch, again and again."""
        pause = _PAUSE_SECONDS[0]
        while not stopping.is_set():
            if self._take_turn(random):
                pause = _PAUSE_SECONDS[0]
                continue
            stopping.wait(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _PAUSE_SECONDS[1])

    def _take_turn(self, random: Random) -> bool:
        """List if need be and watch once; whether something was heard."""
        try:
            if not self._version:
                self._version = self._list()
                self._tally.trouble(self._resource, "")
            return self._watch(random.randint(*_WATCH_SECONDS))
        except ApiError as error:
            self._tally.count(self._resource, error.reason)
            if error.code == EXPIRED:
                self._version = ""
            else:
                self._tally.trouble(self._resource, to_advice(self._api, self._resource, error=error))
        except msgspec.DecodeError as error:
            self._tally.count(self._resource, "not_kubernetes")
            self._tally.trouble(self._resource, f"{self._api.where} does not speak as Kubernetes does: {error}")
        return False

    def _list(self) -> str:
        """Tell all that is there; the version that this was. A list too long to be paged in time is asked for whole."""
        uids: set[str] = set()
        parameters, seen_ns = {"limit": str(self._limit)}, 0
        self._limit = 0
        while True:
            page = decode_page(self._resource, self._api.fetch(self._resource.value, parameters))
            now_ns = self._clock()
            # All pages are of the moment of the first: who is not in them was gone by then.
            seen_ns = seen_ns or now_ns
            uids |= page.uids
            self._events.put(Changed(page.objects, now_ns))
            self._tally.count(self._resource, "events", number=len(page.objects))
            for problem in page.unreadable:
                self._pass_over(problem)
            if not page.proceed:
                break
            parameters["continue"] = page.proceed
        self._events.put(Listed(self._resource, frozenset(uids), seen_ns))
        self._tally.count(self._resource, "lists")
        self._limit = PAGE
        return page.resource_version

    def _watch(self, seconds: int) -> bool:
        """Tell changes until the server ends the watch; whether there was a sign of life."""
        parameters = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        has_heard = False
        for text in self._api.lines(self._resource.value, parameters):
            line = decode_line(self._resource, text)
            if line.type == "ERROR":
                raise ApiError(line.code, line.problem)
            if not has_heard:
                has_heard = True
                self._tally.trouble(self._resource, "")
            self._tell(line)
            self._version = line.resource_version
        return has_heard

    def _tell(self, line: Line) -> None:
        if line.problem:
            self._pass_over(line.problem)
        if line.object is None:
            return
        now_ns = self._clock()
        self._events.put(Deleted(line.object, now_ns) if line.type == "DELETED" else Changed((line.object,), now_ns))
        self._tally.count(self._resource, "events")

    def _pass_over(self, problem: str) -> None:
        self._tally.count(self._resource, "unreadable")
        self._tally.trouble(self._resource, f"an object cannot be read, {problem}")


class Watch:
    """All resources followed, a thread each."""

    def __init__(self, api: KubernetesApi, *, events: Events, clock: Clock, random: Random) -> None:
        self.tally = Tally()
        self._api = api
        self._stopping = threading.Event()
        watches = [ResourceWatch(api, resource, events=events, tally=self.tally, clock=clock) for resource in Resource]
        self._threads = [
            threading.Thread(target=each.run, args=(self._stopping, random), name="kubernetes-watch", daemon=True)
            for each in watches
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all threads, and wait for them."""
        self._stopping.set()
        self._api.close()
        for thread in self._threads:
            thread.join()


def start_watch(mode: str, kubeconfig: str, *, events: Events, clock: Clock, random: Random) -> Watch | None:
    """Follow the cluster that a mode leads to (see `connect`); None without one. `clock`: Unix nanoseconds.

    A server that does not answer is waited for, and named in `Watch.tally.troubles()`.

    Raises: ConfigurationError, WatchRefusedError; their messages are for the user.
    """
    api = connect(mode, kubeconfig)
    if api is None:
        return None
    for resource in Resource:
        try:
            api.fetch(resource.value, {"limit": "1"})
        except ApiError as error:
            if error.code in _REFUSALS:
                raise WatchRefusedError(to_advice(api, resource, error=error)) from error
            break
    return Watch(api, events=events, clock=clock, random=random)


def to_advice(api: KubernetesApi, resource: Resource, *, error: ApiError) -> str:
    """What is wrong, where, and what to do."""
    name = resource.value.rpartition("/")[2]
    match error.code:
        case 401:
            return (
                f"Kubernetes at {api.where} does not accept our credentials ({error}): renew the token or kubeconfig."
            )
        case 403:
            return (
                f"Kubernetes at {api.where} does not let us see {name} ({error}): "
                f"allow the verbs list and watch on {name} in all namespaces (a ClusterRole)."
            )
        case 404:
            return (
                f"Kubernetes at {api.where} has no {name} ({error}): {resource.value} needs Kubernetes 1.21 or newer."
            )
    return str(error)
