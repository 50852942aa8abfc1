"""A capture to what was on the wire, counted by tshark: packets and bytes of every directed conversation."""

import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

FIELDS = (
    "frame.len",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "ip.proto",
    "tcp.srcport",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
    "vxlan.vni",
    "icmp.type",
    "icmpv6.type",
)


class Direction(NamedTuple):
    """Who sent to whom; addresses in the text that Python's ipaddress gives them."""

    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    vni: int


class Counted(NamedTuple):
    """Frames and frame bytes."""

    packets: int
    size: int


@cache
def count(capture: Path) -> dict[Direction, Counted]:
    """TCP and UDP of a capture by directed conversation; in VXLAN the inner one, with the frame's whole length."""
    packets: Counter[Direction] = Counter()
    size: Counter[Direction] = Counter()
    for cells in _rows(capture, FIELDS):
        direction = _direction(cells)
        if direction:
            packets[direction] += 1
            size[direction] += int(cells["frame.len"][0])
    return {direction: Counted(packets[direction], size[direction]) for direction in packets}


def ack_rtts(capture: Path) -> dict[tuple[str, int, int], list[float]]:
    """Round trip samples as tshark takes them, in seconds, by who acknowledged: address, port, and the other's port."""
    samples = defaultdict(list)
    fields = ("tcp.analysis.ack_rtt", "ip.src", "ipv6.src", "tcp.srcport", "tcp.dstport")
    for cells in _rows(capture, fields, "tcp.analysis.ack_rtt"):
        source = ip_address((cells["ip.src"] or cells["ipv6.src"])[-1])
        place = (str(source), int(cells["tcp.srcport"][-1]), int(cells["tcp.dstport"][-1]))
        samples[place].append(float(cells["tcp.analysis.ack_rtt"][0]))
    return dict(samples)


def _rows(capture: Path, fields: tuple[str, ...], display_filter: str = "") -> Iterator[dict[str, list[str]]]:
    command = ["tshark", "-n", "-r", str(capture), "-o", "ip.defragment:FALSE", "-T", "fields", "-E", "separator=/t"]
    command += ["-E", "occurrence=a", "-E", "aggregator=,"]
    command += ["-Y", display_filter] if display_filter else []
    for field in fields:
        command += ["-e", field]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    for line in said.stdout.splitlines():
        values = line.split("\t")
        yield {name: value.split(",") if value else [] for name, value in zip(fields, values, strict=True)}


def _direction(cells: dict[str, list[str]]) -> Direction | None:
    if cells["icmp.type"] or cells["icmpv6.type"]:
        return None  # an error carries the header of the packet it complains about: its ports are not its own
    tunnelled = bool(cells["vxlan.vni"])
    transport = "tcp" if cells["tcp.srcport"] else "udp"
    if not cells[f"{transport}.srcport"] or (tunnelled and transport == "udp" and len(cells["udp.srcport"]) < 2):
        return None
    version = "ipv6" if _has_ipv6_inside(cells) else "ip"
    source, destination = cells[f"{version}.src"][-1], cells[f"{version}.dst"][-1]
    return Direction(
        6 if transport == "tcp" else 17,
        str(ip_address(source)),
        int(cells[f"{transport}.srcport"][-1]),
        str(ip_address(destination)),
        int(cells[f"{transport}.dstport"][-1]),
        int(cells["vxlan.vni"][0]) if tunnelled else 0,
    )


def _has_ipv6_inside(cells: dict[str, list[str]]) -> bool:
    if not cells["vxlan.vni"]:
        return bool(cells["ipv6.src"])
    return len(cells["ip.src"]) < 2 and bool(cells["ipv6.src"])  # a tunnel's outer header may be of either version
