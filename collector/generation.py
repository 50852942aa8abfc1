"""One layout in the kernel to its two topics: from its adoption to the last batch of its rings.

Usually there is one. After an upgrade or a change of sizes the new one counts, while the old one's table is flushed,
its rings are drained under their own ids to a last batch, and its pins are removed. A clean stop ends the last one so.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from collector import bpf_syscall
from collector.batches import Records, to_drop_columns, to_flow_columns
from collector.clock import Clock
from collector.drop_counts import DropCounts
from collector.drop_layout import DropReasons, DropSizes
from collector.drop_names import DropNames
from collector.drop_rotation import CLASSES, DropMaps, DropRotation
from collector.latencies import Latencies
from collector.map_values import VALUES
from collector.pins import Pins, remove
from collector.publish import Publisher
from collector.records import DROP_RECORD, EXPORTER, FLOW_RECORD
from collector.ring import Ring
from collector.slots import Slots
from collector.stream import Facts, Stream
from collector.sweep import Scan, Sweeper
from collector.totals import Totals
from schemas import drop_batch, flow_batch
from schemas.batch import BatchHeader
from schemas.topics import DROPS, FLOWS

_TICK_NS: Final = 500_000_000
_DROPS_TICK_NS: Final = 10**9
_LOST: Final = 3
"""enum kni_outcome"""


@dataclass(frozen=True, slots=True)
class Node:
    """What is the same for all of a node's layouts."""

    name: str
    boot_id: str
    clock: Clock
    reasons: DropReasons
    hook_of: Callable[[int, int], str]
    """(ifindex, direction) to xdp, tc or tcx."""
    addresses: Callable[[], bytes]
    listen_overflows: Callable[[], int]


class Generation:
    """One layout's rings, table and drop maps, with a stream for each ring."""

    def __init__(self, pins: Pins, node: Node) -> None:
        """Raises: PinsError, when the layout is not what this version reads."""
        pins.check(VALUES)
        self.pins = pins
        self._node = node
        self.slots = Slots(pins)
        self.totals = Totals(pins, self.slots, hook_of=node.hook_of)
        self.latencies = Latencies()
        self.drop_counts = DropCounts()
        self._names = DropNames(node.reasons, pins["call_sites"])
        self._flows_ring = Ring(pins["flows_ring"], FLOW_RECORD)
        self._drops_ring = Ring(pins["drops_ring"], DROP_RECORD)
        self.flows = Stream(
            self._flows_ring,
            flow_batch.CONTRACT,
            topic=FLOWS,
            identity=self._identity("flows_ring"),
            to_columns=self._to_flow_columns,
            learn=self.latencies.add,
        )
        self.drops = Stream(
            self._drops_ring,
            drop_batch.CONTRACT,
            topic=DROPS,
            identity=self._identity("drops_ring"),
            to_columns=self._to_drop_columns,
            learn=self.drop_counts.add,
        )
        self._sweeper = Sweeper(pins)
        self._rotation = DropRotation(_drop_maps(pins))
        self._rotation.settle()
        self.scan = Scan.nothing()
        self._held_drops = 0
        self.counters: dict[str, int] = {}
        self.drop_counters: dict[str, int] = {}
        self.ticked_ns = self._drops_ticked_ns = 0
        self._is_flushed = False
        self._counting_since: tuple[int | None, int] = (-1, 0)
        self.places = bpf_syscall.map_entries(pins["cold"])

    def step(self, publisher: Publisher) -> int:
        """Sweep when it is time, and hand over what is in the rings; the number of records handed over."""
        now = self._node.clock.now_ns()
        flows_are_due, drops_are_due = now - self.ticked_ns >= _TICK_NS, now - self._drops_ticked_ns >= _DROPS_TICK_NS
        if flows_are_due:
            self._tick(now)
        if drops_are_due:
            self._tick_drops(now)
        return self._hand_over(publisher, now, flows_are_swept=flows_are_due, drops_are_swept=drops_are_due)

    def close(self, publisher: Publisher) -> bool:
        """End the rings, once nothing writes to the table any more: call until True, then `remove`.

        Flushes the table and the drop maps, hands everything over, and a last batch for each ring.
        """
        now = self._node.clock.now_ns()
        if not self._is_flushed:
            self.scan = self._sweeper.flush(now)
            self.flows.exported_until.found(self.scan.exported_until_ns, self.scan.position)
            self._tick_drops(now)
            self._read_counters()
            self._hand_over(publisher, now, flows_are_swept=True, drops_are_swept=True)
            self._is_flushed = not self.scan.conversations and not self._held_drops
            return False
        flows_done = self.flows.close(publisher, self._last_flow_facts)
        return self.drops.close(publisher, self._drop_facts) and flows_done

    def counting_since_ns(self) -> int:
        """Unix time since which every packet at the hooks is counted: told the same each time, whatever clocks do."""
        since_ns = self.pins.counting_since_ns
        if since_ns != self._counting_since[0]:
            self._counting_since = (since_ns, self._node.clock.to_unix_ns(since_ns or self._node.clock.now_ns()))
        return self._counting_since[1]

    def rewind(self) -> None:
        """Begin again, for a new producer, with what is not acknowledged."""
        self.flows.rewind()
        self.drops.rewind()
        self.totals.tell_all_again()

    def remove(self) -> None:
        """Unpin everything: the kernel forgets it with the last descriptor."""
        self.pins.close()
        remove(self.pins.directory)

    def _hand_over(self, publisher: Publisher, now: int, *, flows_are_swept: bool, drops_are_swept: bool) -> int:
        flows = self.flows.step(publisher, self._flow_facts, now_ns=now, is_swept=flows_are_swept)
        return flows + self.drops.step(publisher, self._drop_facts, now_ns=now, is_swept=drops_are_swept)

    def _tick(self, now: int) -> None:
        self.ticked_ns = now
        self.scan = self._sweeper.tick(now)
        self.flows.exported_until.found(self.scan.exported_until_ns, self.scan.position)
        self._read_counters()

    def _tick_drops(self, now: int) -> None:
        self._drops_ticked_ns = now
        tick = self._rotation.tick()
        if tick.flipped and not tick.left:
            self.drops.exported_until.found(now, self._drops_ring.producer)
        held = self._rotation.held()
        self._held_drops = held.entries
        totals = self._rotation.totals()
        self.drop_counters = {
            **{f"{name}_packets": int(totals.packets[place]) for place, name in enumerate(CLASSES)},
            "lost_drops_map_full": int(totals.packets[CLASSES.index("map_full")]),
            "lost_drops_missed": totals.missed_frames,
            "held_packets": held.packets,
            "listen_overflows": self._node.listen_overflows(),
        }

    def _read_counters(self) -> None:
        size = bpf_syscall.possible_cpus() * EXPORTER.itemsize
        exporters = np.frombuffer(bpf_syscall.map_lookup(self.pins["exporters"], bytes(4), size), EXPORTER)
        values = self.totals.reading.values
        self.counters = {
            "lost_table_full": int(values["packets"][:, _LOST].sum()),
            "malformed_transport_frames": int(values["irregular_frames"].sum()),
            "single_packet_records": int(exporters["single"].sum()),
            "refused_exports": int(exporters["refused"].sum()),
            "exports": int(exporters["exported"].sum()),
            "spilled_counters": int(exporters["spilled"].sum()),
            **{f"sweep_{name}": value for name, value in self._sweeper.counters().items()},
        }

    def _flow_facts(self) -> Facts:
        facts = self._facts(self.counters, held_packets=self.scan.held_packets, held_bytes=self.scan.held_bytes)
        return replace(facts, totals=self.totals.to_tell(self._node.clock.now_ns()))

    def _last_flow_facts(self) -> Facts:
        totals = self.totals.all()
        self._read_counters()  # the last ones have to be of the same reading
        return replace(self._facts(self.counters, held_packets=0, held_bytes=0), totals=totals)

    def _drop_facts(self) -> Facts:
        counters = dict(self.drop_counters)
        return self._facts(counters, held_packets=counters.pop("held_packets", 0), held_bytes=0)

    def _facts(self, counters: dict[str, int], *, held_packets: int, held_bytes: int) -> Facts:
        clock = self._node.clock
        now = clock.now_ns()
        return Facts(
            now_ns=clock.to_unix_ns(now),
            counting_since_ns=self.counting_since_ns(),
            offset_ns=clock.offset_ns(),
            held_packets=held_packets,
            held_bytes=held_bytes,
            counters=counters,
            node_addresses=self._node.addresses(),
        )

    def _identity(self, ring: str) -> BatchHeader:
        return BatchHeader(
            node=self._node.name,
            boot_id=self._node.boot_id,
            ring_id=self.pins.ring_ids[ring],
            first=0,
            counting_since_ns=0,
            exported_until_ns=0,
            created_ns=0,
        )

    def _to_flow_columns(self, records: Records, offset_ns: int) -> pa.RecordBatch:
        return to_flow_columns(records, self.slots.names, offset_ns=offset_ns)

    def _to_drop_columns(self, records: Records, offset_ns: int) -> pa.RecordBatch:
        named = self._names.resolve(records)
        return to_drop_columns(records, self.slots.names, names=named, offset_ns=offset_ns)


def _drop_maps(pins: Pins) -> DropMaps:
    names = ("drops_0", "drops_1", "drop_epoch", "drop_totals", "drop_jobs", "drop_sweep", "sweep_drops", "on_drop")
    return DropMaps(**{name: pins[name] for name in names}, entries=DropSizes().entries)
