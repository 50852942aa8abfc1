"""The collector's parts to one State: everything that its doors tell, as of one moment."""

from dataclasses import dataclass

from collector.clock import Clock
from collector.inventory import Inventory, address_texts, hook_entries
from collector.loop import Loop
from collector.state import RingState, State
from collector.stream import Stream
from collector.watch import Watch


@dataclass(frozen=True, slots=True)
class Identity:
    """Who tells."""

    node: str
    boot_id: str
    version: str
    kernel: str
    started_ns: int
    """Unix."""


def to_state(identity: Identity, loop: Loop, *, watch: Watch, clock: Clock) -> State:
    """What the collector knows of itself now."""
    active = loop.active
    return State(
        node=identity.node,
        boot_id=identity.boot_id,
        version=identity.version,
        started_ns=identity.started_ns,
        now_ns=clock.to_unix_ns(clock.now_ns()),
        counting_since_ns=active.counting_since_ns(),
        interfaces=hook_entries(watch.counted, clock.to_unix_ns),
        refused=watch.refused,
        uncovered=watch.uncovered,
        flows=_to_ring_state(active.flows, clock),
        drops=_to_ring_state(active.drops, clock),
        held_packets=active.scan.held_packets,
        held_bytes=active.scan.held_bytes,
        conversations=active.scan.conversations,
        places=active.places,
        counters={**active.counters, **active.drop_counters},
        publish_errors=loop.errors + loop.publisher.errors,
        kafka_error=loop.publisher.last_error,
        last_acknowledged_ns=clock.to_unix_ns(loop.acknowledged_ns) if loop.acknowledged_ns else 0,
        last_tick_ns=clock.to_unix_ns(active.ticked_ns) if active.ticked_ns else 0,
        totals=active.totals.reading,
        latencies=active.latencies,
        drops_by_reason=dict(active.drop_counts.packets),
    )


def to_inventory(identity: Identity, loop: Loop, *, watch: Watch, clock: Clock) -> Inventory:
    """What goes to the topic of collectors now."""
    return Inventory(
        node=identity.node,
        boot_id=identity.boot_id,
        version=identity.version,
        kernel=identity.kernel,
        time_ns=clock.to_unix_ns(clock.now_ns()),
        counting_since_ns=loop.active.counting_since_ns(),
        addresses=address_texts(watch.addresses),
        interfaces=hook_entries(watch.counted, clock.to_unix_ns),
    )


def _to_ring_state(stream: Stream, clock: Clock) -> RingState:
    until_ns = stream.exported_until.said_ns
    return RingState(
        topic=stream.topic,
        records=stream.unacknowledged,
        capacity=stream.capacity,
        batches_in_flight=stream.delivery.in_flight,
        records_sent=stream.sent,
        exported_until_ns=clock.to_unix_ns(until_ns) if until_ns else 0,
    )
