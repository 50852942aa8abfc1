"""A point on a record's way to Kafka, to a collector that dies there: `python -m tests.e2e.dying_collector POINT`.

It is the collector itself; only its end is added: SIGKILL, when the first record comes to the point.

before-sending      a batch with records is made, and Kafka's client has not seen it
before-callback     the broker acknowledged it, and the collector has not heard of that
before-position     the collector has heard of it, and the ring still holds the records
before-harvest      the sweep marked places as gone in the round before, and has not emptied them
by-a-bug            not killed: an exception that nobody expects
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from collector import sweep
from collector.__main__ import main
from collector.publish import OnDelivery, Publisher
from collector.records import Command
from collector.ring import Ring
from schemas.flow_batch import read_batch
from schemas.topics import FLOWS


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def has_flows(topic: str, value: bytes) -> bool:
    return topic == FLOWS and read_batch(value, now_ns=time.time_ns()).records.num_rows > 0


def before_sending(real: Callable[..., bool]) -> Callable[..., bool]:
    def send(publisher: Publisher, topic: str, value: bytes, **more: Any) -> bool:
        if has_flows(topic, value):
            die()
        return real(publisher, topic, value, **more)

    return send


def by_a_bug(real: Callable[..., bool]) -> Callable[..., bool]:
    def send(publisher: Publisher, topic: str, value: bytes, **more: Any) -> bool:
        if has_flows(topic, value):
            raise AssertionError("by a bug")
        return real(publisher, topic, value, **more)

    return send


def before_callback(real: Callable[..., bool]) -> Callable[..., bool]:
    def send(publisher: Publisher, topic: str, value: bytes, *, on_delivery: OnDelivery, **more: Any) -> bool:
        def answer(error: str | None) -> None:
            if has_flows(topic, value) and error is None:
                die()
            on_delivery(error)

        return real(publisher, topic, value, on_delivery=answer, **more)

    return send


def before_position(real: Callable[[Ring, int], None]) -> Callable[[Ring, int], None]:
    def release(ring: Ring, position: int) -> None:
        if position > ring.position:
            die()
        real(ring, position)

    return release


def before_harvest(real: Callable[..., dict[Command, Any]]) -> Callable[..., dict[Command, Any]]:
    def due(*seen: Any) -> dict[Command, Any]:
        chosen = real(*seen)
        if chosen[Command.HARVEST].any():
            die()
        return chosen

    return due


POINTS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "before-sending": (Publisher, "send", before_sending),
    "before-callback": (Publisher, "send", before_callback),
    "before-position": (Ring, "release", before_position),
    "before-harvest": (sweep, "due", before_harvest),
    "by-a-bug": (Publisher, "send", by_a_bug),
}


if __name__ == "__main__":
    owner, name, wrap = POINTS[sys.argv[1]]
    setattr(owner, name, wrap(getattr(owner, name)))
    sys.exit(main([]))
