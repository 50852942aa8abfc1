"""Rows against captures that tshark counted: packets and bytes of every conversation and direction are equal."""

import math
import statistics
from collections import defaultdict
from ipaddress import IPv6Address, ip_address

import pyarrow.compute as pc
import pytest

from schemas.flow_batch import SAMPLES, read_batch
from tests.e2e.wire import Counted, Direction, ack_rtts, count


def recorded(lab, node, interface):
    """Give packets and bytes of each direction in the flow records of an interface since the captures began."""
    rows = lab.ask(
        """SELECT protocol, src_addr, src_port, dst_addr, dst_port, vni,
                  sum(packets) AS packets, sum(bytes) AS bytes,
                  sum(reverse_packets) AS reverse_packets, sum(reverse_bytes) AS reverse_bytes
           FROM flows
           WHERE node = {node:String} AND interface = {interface:String} AND protocol IN (6, 17)
               AND toUnixTimestamp64Nano(time_start) >= {began:Int64}
           GROUP BY ALL""",
        node=node,
        interface=interface,
        began=lab.began_ns,
    )
    found = {}
    for row in rows:
        client, server = text(row["src_addr"]), text(row["dst_addr"])
        there = Direction(row["protocol"], client, row["src_port"], server, row["dst_port"], row["vni"])
        back = Direction(row["protocol"], server, row["dst_port"], client, row["src_port"], row["vni"])
        found[there] = Counted(row["packets"], row["bytes"])
        found[back] = Counted(row["reverse_packets"], row["reverse_bytes"])
    return {direction: counted for direction, counted in found.items() if counted.packets}


def text(address):
    address = ip_address(str(address))
    return str(getattr(address, "ipv4_mapped", None) or address)


def test_every_conversation_is_as_tshark_counts_it(lab):
    unequal: dict[object, object] = {}
    compared = 0
    for (node, interface), file in lab.captures.items():
        seen, rows = count(file), recorded(lab, node, interface)
        compared += len(seen)
        unequal |= {
            (node, interface, direction): (seen.get(direction), rows.get(direction))
            for direction in seen.keys() | rows.keys()
            if seen.get(direction) != rows.get(direction)
        }

    assert unequal == {}
    assert compared > 500


def test_ipv4_and_ipv6_are_compared_at_pods_and_inside_vxlan_at_uplinks(lab):
    kinds = set()
    for (_, interface), file in lab.captures.items():
        kinds |= {
            ("uplink" if interface == "eth0" else "pod", ip_address(direction.source).version, direction.vni > 0)
            for direction in count(file)
        }

    assert kinds >= {("pod", 4, False), ("pod", 6, False), ("uplink", 4, True), ("uplink", 6, True)}


def test_each_conversation_counts_once_with_what_its_authoritative_interface_saw(lab):
    rows = lab.ask(
        """SELECT node, interface,
                  sum(packets) + sum(reverse_packets) AS packets, sum(bytes) + sum(reverse_bytes) AS bytes
           FROM flows
           WHERE authoritative AND protocol IN (6, 17) AND toUnixTimestamp64Nano(time_start) >= {began:Int64}
           GROUP BY node, interface""",
        began=lab.began_ns,
    )
    counted = {(row["node"], row["interface"]): (row["packets"], row["bytes"]) for row in rows}

    seen = {}
    for place, file in lab.captures.items():
        wire = count(file)
        mine = lab.ask(
            """SELECT DISTINCT protocol, src_addr, src_port, dst_addr, dst_port, vni FROM flows
               WHERE authoritative AND protocol IN (6, 17) AND node = {node:String} AND interface = {interface:String}
                   AND toUnixTimestamp64Nano(time_start) >= {began:Int64}""",
            node=place[0],
            interface=place[1],
            began=lab.began_ns,
        )
        packets = size = 0
        for row in mine:
            client, server = text(row["src_addr"]), text(row["dst_addr"])
            for direction in (
                Direction(row["protocol"], client, row["src_port"], server, row["dst_port"], row["vni"]),
                Direction(row["protocol"], server, row["dst_port"], client, row["src_port"], row["vni"]),
            ):
                found = wire.get(direction, Counted(0, 0))
                packets, size = packets + found.packets, size + found.size
        seen[place] = (packets, size)

    assert {place: seen[place] for place in seen if place in counted} == {
        place: counted[place] for place in counted if place in seen
    }
    assert sum(packets for packets, _ in seen.values()) > 1_000


def test_the_round_trip_times_of_every_conversation_are_those_of_tshark(lab):
    ours = round_trips(lab)
    medians = {}
    for place, file in lab.captures.items():
        for conversation, theirs in ack_rtts(file).items():
            if len(theirs) >= ENOUGH:
                mine = ours[*place, *conversation]
                medians[place, conversation] = (statistics.median(mine or [math.nan]), statistics.median(theirs))

    assert len(medians) >= 20
    assert {place: m for place, m in medians.items() if m[0] != pytest.approx(m[1], rel=0.05, abs=50e-6)} == {}


ENOUGH = 10
"""A median of fewer samples is chance."""


def round_trips(lab):
    """Give the round trips in seconds by interface and who acknowledged, from the topic."""
    found: dict[tuple[str, str, str, int, int], list[float]] = defaultdict(list)
    for value in lab.doors.flows:
        batch = read_batch(value, now_ns=lab.began_ns)
        for row in batch.records.filter((pc.field("rtt_count") > 0) | (pc.field("reverse_rtt_count") > 0)).to_pylist():
            client = (text(IPv6Address(row["src_addr"])), row["src_port"], row["dst_port"])
            server = (text(IPv6Address(row["dst_addr"])), row["dst_port"], row["src_port"])
            for who, prefix in ((server, ""), (client, "reverse_")):
                place = (batch.header.node, row["interface"], *who)
                found[place] += measured(row[f"{prefix}rtt_samples"], row[f"{prefix}rtt_count"])
    return found


def measured(samples, count):
    """Give a record's round trips in seconds, each sample as often as it stands for."""
    held = min(count, SAMPLES)
    return [sample / 1e9 for n, sample in enumerate(samples[:held]) for _ in range(count // held + (n < count % held))]
