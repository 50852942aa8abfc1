"""Batches of a ring to what they add up to: each position once, and what the hooks say of the same packets."""

import socket
from typing import Any

import numpy as np

from schemas.batch import Batch
from schemas.interface_totals import read_totals

COUNTED = ("flow_direction", "packets", "bytes", "reverse_packets", "reverse_bytes")


def unrepeated(batches: list[Batch]) -> list[Any]:
    """Record batches of a ring, each position once. Fails at a gap: a record that was never sent."""
    reached, kept = 0, []
    for batch in batches:
        assert batch.header.first <= reached, f"positions {reached}…{batch.header.first} are missing"
        fresh = batch.records.slice(min(reached - batch.header.first, batch.records.num_rows))
        if fresh.num_rows:
            kept.append(fresh)
        reached = max(reached, batch.next)
    return kept


def packets_by_hook(batches: list[Batch]) -> dict[tuple[str, int], tuple[int, int]]:
    """(interface, direction) to packets and bytes of its records."""
    sums: dict[tuple[str, int], tuple[int, int]] = {}
    for records in unrepeated(batches):
        columns = {name: np.asarray(records.column(name)) for name in COUNTED}
        names = records.column("interface").to_pylist()
        for row, name in enumerate(names):
            client = int(columns["flow_direction"][row])
            for direction, prefix in ((client, ""), (1 - client, "reverse_")):
                packets, octets = sums.get((name, direction), (0, 0))
                sums[name, direction] = (
                    packets + int(columns[f"{prefix}packets"][row]),
                    octets + int(columns[f"{prefix}bytes"][row]),
                )
    return {hook: counted for hook, counted in sums.items() if counted != (0, 0)}


def totals_by_hook(batches: list[Batch]) -> dict[tuple[str, int], tuple[int, int]]:
    """(interface, direction) to packets and bytes that the hooks accounted, as told last."""
    largest: dict[tuple[str, int], tuple[int, int]] = {}
    for batch in batches:
        for row in read_totals(batch.header.totals).to_pylist():
            hook = (row["interface"], row["flow_direction"])
            largest[hook] = max(largest.get(hook, (0, 0)), (row["accounted_packets"], row["accounted_bytes"]))
    return {hook: counted for hook, counted in largest.items() if counted != (0, 0)}


def udp_packets(batches: list[Batch]) -> int:
    """Packets of UDP conversations that the peer began."""
    found = 0
    for records in unrepeated(batches):
        is_udp = np.asarray(records.column("protocol")) == socket.IPPROTO_UDP
        found += int(np.asarray(records.column("packets"))[is_udp].sum())
    return found
