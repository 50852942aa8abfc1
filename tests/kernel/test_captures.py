"""A capture to the programs and to tshark: equal packets and bytes of every conversation, the same round trips."""

import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Timestamp, fragment
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw
from scapy.utils import RawPcapReader, wrpcap

from collector.records import SAMPLES, InterfaceKind, Outcome
from tests.kernel.flow_kernel import LOOPBACK, FlowKernel
from tests.kernel.frames import MAC, to_text

SLOT = 9
START_NS = 1_700_000_000 * 10**9
Directed = tuple[str, str, int, int, int]
"""Source, destination, protocol, ports."""
FIELDS = (
    *("ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "ip.proto", "ipv6.nxt", "tcp.srcport", "tcp.dstport"),
    *("udp.srcport", "udp.dstport", "frame.len", "tcp.analysis.ack_rtt"),
)


@pytest.fixture(autouse=True)
def at_pod(flows: FlowKernel) -> Iterator[None]:
    flows.watch(LOOPBACK, slot=SLOT, kind=InterfaceKind.POD)
    flows.flush()
    yield
    flows.flush()


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few seconds of a small network's day."""
    path = tmp_path_factory.mktemp("capture") / "day.pcap"
    packets = [*web(4), *web(6), *names(), *pings(), *fragments(), *oddities()]
    packets.sort(key=lambda packet: packet.time)
    wrpcap(str(path), packets, nano=True)
    return path


def at(ms: float, *layers: Packet) -> Packet:
    packet = Ether(**MAC)
    for layer in layers:
        packet /= layer
    packet.time = START_NS / 1e9 + ms / 1e3
    return packet


def web(version: int) -> Iterator[Packet]:
    """Thirty connections that ask and are answered, some with a lost segment, one that is refused."""
    ip, subnet = (IP, "10.1.0.") if version == 4 else (IPv6, "fd00:1::")
    for n in range(30):
        client, server = {"src": f"{subnet}{n % 5 + 1}", "dst": f"{subnet}99"}, {}
        server = {"src": client["dst"], "dst": client["src"]}
        ports, back = {"sport": 33_000 + n, "dport": 80}, {"sport": 80, "dport": 33_000 + n}
        begin, rtt = n * 37.0, 2 + n / 4
        yield at(begin, ip(**client), TCP(**ports, flags="S", seq=1_000))
        if n == 7:
            yield at(begin + rtt, ip(**server), TCP(**back, flags="RA", seq=0, ack=1_001))
            continue
        yield at(begin + rtt, ip(**server), TCP(**back, flags="SA", seq=5_000, ack=1_001))
        yield at(begin + rtt + 1, ip(**client), TCP(**ports, flags="A", seq=1_001, ack=5_001))
        ask = (TCP(**ports, flags="PA", seq=1_001, ack=5_001), Raw(b"q" * (100 + n)))
        yield at(begin + rtt + 2, ip(**client), *ask)
        if n % 10 == 3:
            yield at(begin + rtt + 300, ip(**client), *ask)
        answered = begin + 400
        answer = TCP(**back, flags="PA", seq=5_001, ack=1_101 + n)
        yield at(answered, ip(**server), TCP(**back, flags="A", seq=5_001, ack=1_101 + n))
        yield at(answered + 5, ip(**server), answer, Raw(b"a" * (n * 40)))
        yield at(answered + 5 + rtt, ip(**client), TCP(**ports, flags="FA", seq=1_101 + n, ack=5_001 + n * 40))
        yield at(answered + 6 + rtt, ip(**server), TCP(**back, flags="FA", seq=5_001 + n * 40, ack=1_102 + n))
        yield at(answered + 8 + rtt, ip(**client), TCP(**ports, flags="A", seq=1_102 + n, ack=5_002 + n * 40))


def names() -> Iterator[Packet]:
    for n in range(40):
        query = UDP(sport=40_000 + n, dport=53) / DNS(id=n, qd=DNSQR(qname=f"host-{n}.example."))
        yield at(n * 11, IP(src="10.1.0.3", dst="10.1.0.53"), query)
        answer = UDP(sport=53, dport=40_000 + n) / DNS(id=n, qr=1, qd=DNSQR(qname=f"host-{n}.example."))
        yield at(n * 11 + 3, IP(src="10.1.0.53", dst="10.1.0.3"), answer)


def pings() -> Iterator[Packet]:
    for n in range(10):
        yield at(n * 50, IP(src="10.1.0.1", dst="10.1.0.2"), ICMP(type=8, seq=n), Raw(bytes(56)))
        yield at(n * 50 + 1, IP(src="10.1.0.2", dst="10.1.0.1"), ICMP(type=0, seq=n), Raw(bytes(56)))
        yield at(n * 50, IPv6(src="fd00:1::1", dst="fd00:1::2"), ICMPv6EchoRequest(seq=n))
        yield at(n * 50 + 1, IPv6(src="fd00:1::2", dst="fd00:1::1"), ICMPv6EchoReply(seq=n))


def fragments() -> Iterator[Packet]:
    whole = IP(src="10.1.0.8", dst="10.1.0.9", id=77) / UDP(sport=9_000, dport=9_001) / Raw(bytes(4_000))
    for n, part in enumerate(fragment(whole, fragsize=1_400)):
        yield at(500 + n, part)


def oddities() -> Iterator[Packet]:
    yield at(600, ARP())
    yield at(601, Dot1Q(vlan=9), IP(src="10.1.0.1", dst="10.1.0.2"), TCP(sport=1, dport=2, flags="A"))
    yield at(602, IP(src="10.1.0.1", dst="10.1.0.2", options=[IPOption_Timestamp()]), UDP(sport=1, dport=2))
    yield at(603, IPv6(src="fd00:1::1", dst="fd00:1::2"), IPv6ExtHdrHopByHop(), UDP(sport=7, dport=8), Raw(b"x"))
    yield at(604, IP(src="10.1.0.1", dst="10.1.0.2", proto=47), Raw(bytes(40)))


def told_by_tshark(capture: Path) -> list[dict[str, str]]:
    command = ["tshark", "-n", "-r", str(capture), "-o", "ip.defragment:FALSE", "-T", "fields", "-E", "occurrence=l"]
    for name in FIELDS:
        command += ["-e", name]
    rows = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [dict(zip(FIELDS, row.split("\t"), strict=True)) for row in rows]


def by_tshark(rows: list[dict[str, str]]) -> dict[Directed, tuple[int, int]]:
    counts: defaultdict[Directed, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        src, dst = row["ip.src"] or row["ipv6.src"], row["ip.dst"] or row["ipv6.dst"]
        if not src:
            continue
        ports = [int(row[f"tcp.{end}port"] or row[f"udp.{end}port"] or 0) for end in ("src", "dst")]
        protocol = int(row["ip.proto"] or (row["udp.srcport"] and 17) or row["ipv6.nxt"])
        count = counts[src, dst, protocol, ports[0], ports[1]]
        count[0] += 1
        count[1] += int(row["frame.len"])
    return {key: (packets, octets) for key, (packets, octets) in counts.items()}


def by_records(records: npt.NDArray[np.void]) -> dict[Directed, tuple[int, int]]:
    """ICMP's type and code are no ports to tshark."""
    counts: defaultdict[Directed, list[int]] = defaultdict(lambda: [0, 0])
    for record in records:
        has_ports = int(record["protocol"]) in {6, 17}
        ends = [(to_text(record[f"{end}_addr"]), int(record[f"{end}_port"]) * has_ports) for end in ("src", "dst")]
        for direction in (0, 1):
            (src, sport), (dst, dport) = ends if direction == 0 else ends[::-1]
            count = counts[src, dst, int(record["protocol"]), sport, dport]
            count[0] += int(record["packets"][direction])
            count[1] += int(record["bytes"][direction])
    return {key: (packets, octets) for key, (packets, octets) in counts.items() if packets}


def replay(flows: FlowKernel, capture: Path) -> npt.NDArray[np.void]:
    """The capture's frames at a hook, each at its own time."""
    parts = []
    with RawPcapReader(str(capture)) as frames:
        for content, about in frames:
            flows.now_ns = about.sec * 10**9 + about.usec  # nanoseconds, in this format
            flows.send(content)
            parts.append(flows.records())
    return np.concatenate([*parts, flows.flush()])


def test_packets_and_bytes_of_every_conversation_are_equal(flows: FlowKernel, capture: Path) -> None:
    before = flows.totals()[SLOT * 2]
    counted = by_records(replay(flows, capture))
    assert counted == by_tshark(told_by_tshark(capture))
    after = flows.totals()[SLOT * 2]
    assert int(after["frames"][Outcome.NON_IP] - before["frames"][Outcome.NON_IP]) == 1


def test_the_median_round_trip_is_that_of_tshark(flows: FlowKernel, capture: Path) -> None:
    records = replay(flows, capture)
    places = np.minimum(records["rtt_count"], SAMPLES)
    kept = np.arange(SAMPLES) < places[:, :, None]
    ours = np.median([(int(x) & 2047) << (int(x) >> 11) for x in records["rtt_samples"][kept]])
    theirs = np.median([float(row["tcp.analysis.ack_rtt"]) * 1e9 for row in told_by_tshark(capture) if rtt(row)])
    assert abs(ours - theirs) <= max(0.05 * theirs, 50_000)
    assert int(records["retransmits"].sum()) == 6
    assert int(records["connections_refused"].sum()) == 2
    assert int(records["connections_opened"].sum()) == int(records["connections_closed"].sum()) == 58


def rtt(row: dict[str, str]) -> bool:
    return row["tcp.analysis.ack_rtt"] != ""
