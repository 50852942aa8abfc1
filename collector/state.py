"""Everything the collector knows of itself, at one moment, to one object: no arithmetic, no doors."""

from dataclasses import dataclass

from collector.inventory import HookEntry
from collector.latencies import Latencies
from collector.totals import Reading


@dataclass(frozen=True, slots=True)
class RingState:
    """One ring and its topic."""

    topic: str
    records: int
    """In the ring: handed over and not acknowledged, or still waiting."""
    capacity: int
    """Records the ring has room for."""
    batches_in_flight: int
    """Handed over to the producer and not acknowledged."""
    records_sent: int
    """Acknowledged since this process started."""
    exported_until_ns: int
    """What the last batch said: every packet up to then was in the ring. Unix nanoseconds; 0: nothing yet."""


@dataclass(frozen=True, slots=True)
class State:
    """One collector. Times are Unix nanoseconds."""

    node: str
    boot_id: str
    version: str
    started_ns: int
    now_ns: int
    counting_since_ns: int
    interfaces: list[HookEntry]
    refused: dict[str, str]
    """Interfaces that should be counted at and can't be, and why."""
    uncovered: int
    """How often somebody else's program was found before ours: counting began anew."""
    flows: RingState
    drops: RingState
    held_packets: int
    held_bytes: int
    conversations: int
    places: int
    """In the table of conversations."""
    counters: dict[str, int]
    """As in the batches' headers."""
    publish_errors: int
    kafka_error: str | None
    """What Kafka's connections said last; None when it acknowledges."""
    last_acknowledged_ns: int
    """0: never."""
    last_tick_ns: int
    totals: Reading
    latencies: Latencies
    drops_by_reason: dict[tuple[str, bool], int]
    """Packets by (reason, is benign)."""
