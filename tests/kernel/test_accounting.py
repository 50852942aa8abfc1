"""Socket buffers to wire packets, wire bytes and sizes: exact under segmentation offload and spilling."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from collector import bpf_syscall
from collector.records import BUCKET, EXPORTER, FlowEndReason, InterfaceKind
from tests.kernel.flow_kernel import LOOPBACK, FlowKernel, Hook
from tests.kernel.frames import CLIENT, CLIENT_V6, MAC, SERVER, SERVER_V6, frame, total

SLOT = 5
MSS = 1_448
V4, V6 = IP(src=CLIENT, dst=SERVER), IPv6(src=CLIENT_V6, dst=SERVER_V6)
A_TCP = TCP(sport=41_000, dport=80, flags="A", options=[("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)])
INNER = Ether(**MAC) / IP(src="10.9.0.1", dst="10.9.0.2") / A_TCP
SIZES = [64 << bucket for bucket in range(11)]


@pytest.fixture(autouse=True)
def at_uplink(flows: FlowKernel) -> Iterator[None]:
    flows.watch(LOOPBACK, slot=SLOT, kind=InterfaceKind.UPLINK)
    flows.flush()
    yield
    flows.flush()


@pytest.mark.parametrize(
    ("layers", "headers"),
    [
        pytest.param((V4, A_TCP), 14 + 20 + 32, id="TCP over IPv4"),
        pytest.param((V6, A_TCP), 14 + 40 + 32, id="TCP over IPv6"),
        pytest.param((V4, UDP(sport=41_000, dport=443)), 14 + 20 + 8, id="UDP segmentation offload"),
        pytest.param(
            (V4, UDP(sport=55_555, dport=4789), VXLAN(vni=1), INNER),
            14 + 20 + 8 + 8 + 14 + 20 + 32,
            id="TCP inside VXLAN",
        ),
    ],
)
@pytest.mark.parametrize("payload", [MSS * 5, MSS * 5 + 1, MSS * 2 - 1, 60_000])
@pytest.mark.parametrize("says_segments", [True, False], ids=["gso_segs", "gso_size alone"])
def test_a_super_packet_counts_as_its_segments(
    flows: FlowKernel, layers: tuple[Packet, ...], headers: int, *, payload: int, says_segments: bool
) -> None:
    segments = -(-payload // MSS)
    rest = payload - (segments - 1) * MSS + headers
    before = flows.totals()[SLOT * 2]
    content = frame(*layers, Raw(bytes(payload)))
    flows.send(content, gso_segments=segments if says_segments else 0, gso_size=MSS)
    after = flows.totals()[SLOT * 2]
    (record,) = flows.flush()
    wire_bytes = payload + segments * headers
    assert record["packets"].tolist() == [segments, 0]
    assert record["bytes"].tolist() == [wire_bytes, 0]
    assert record["packet_bytes_max"].tolist() == [MSS + headers, 0]
    assert record["packet_bytes_min"].tolist() == [rest, 0]
    assert [int(after[unit][0] - before[unit][0]) for unit in ("frames", "packets", "bytes")] == [
        *(1, segments, wire_bytes)
    ]
    sizes = (after["size_packets"] - before["size_packets"]).sum(axis=0)
    expected = np.zeros(12, int)
    np.add.at(expected, [bucket_of(MSS + headers)] * (segments - 1) + [bucket_of(rest)], 1)
    assert sizes.tolist() == expected.tolist()


def bucket_of(length: int) -> int:
    return next((bucket for bucket, limit in enumerate(SIZES) if length <= limit), 11)


def test_a_retransmitted_super_packet_counts_all_its_segments(flows: FlowKernel) -> None:
    content = frame(V4, TCP(sport=41_000, dport=80, flags="A", seq=1), Raw(bytes(MSS * 7)))
    for _ in range(2):
        flows.send(content, gso_segments=7, gso_size=MSS)
    assert total(flows.flush(), "retransmits") == [7, 0]


@pytest.mark.parametrize("length", [60, 64, 65, 128, 129, 1_024, 1_025, 1_514, 3_000])
@pytest.mark.parametrize("hook", [Hook.XDP, Hook.TC_OUT])
def test_a_frames_size_falls_into_its_bucket(flows: FlowKernel, length: int, hook: Hook) -> None:
    row = SLOT * 2 + hook.value[1]
    before = flows.totals()[row]
    flows.send(frame(V4, UDP(sport=1, dport=2), Raw(bytes(length - 42))), hook)
    after = flows.totals()[row]
    assert np.argwhere(after["size_packets"] - before["size_packets"]).tolist() == [[1, bucket_of(length)]]
    assert (after["size_bytes"] - before["size_bytes"]).tolist() == [0, length, 0, 0]


@pytest.mark.parametrize(
    ("layers", "protocol_class"),
    [
        pytest.param((V4, A_TCP), 0, id="TCP"),
        pytest.param((V6, UDP()), 1, id="UDP"),
        pytest.param((V4, ICMP()), 2, id="ICMP"),
        pytest.param((IP(src=CLIENT, dst=SERVER, proto=47), Raw(bytes(30))), 3, id="other"),
    ],
)
def test_sizes_are_kept_by_protocol(flows: FlowKernel, layers: tuple[Packet, ...], protocol_class: int) -> None:
    before = flows.totals()[SLOT * 2]["size_packets"].sum(axis=1)
    flows.send(frame(*layers))
    after = flows.totals()[SLOT * 2]["size_packets"].sum(axis=1)
    assert np.flatnonzero(after - before).tolist() == [protocol_class]


def test_smallest_and_largest_packet_are_those_of_the_record(flows: FlowKernel) -> None:
    for length in (100, 900, 300):
        flows.send(frame(V4, UDP(sport=5_000, dport=53), Raw(bytes(length - 42))))
        flows.send(frame(IP(src=SERVER, dst=CLIENT), UDP(sport=53, dport=5_000), Raw(bytes(length - 32))))
    (record,) = flows.flush()
    assert record["packet_bytes_min"].tolist() == [100, 110]
    assert record["packet_bytes_max"].tolist() == [900, 910]
    assert record["packets"].tolist() == [3, 3]


def test_both_directions_are_one_conversation_whatever_the_hook(flows: FlowKernel) -> None:
    flows.now_ns = time.monotonic_ns()  # an XDP test-run takes no other clock
    flows.send(frame(V4, UDP(sport=5_000, dport=53)), Hook.XDP)
    flows.send(frame(IP(src=SERVER, dst=CLIENT), UDP(sport=53, dport=5_000)), Hook.TC_OUT)
    (record,) = flows.flush()
    assert record["packets"].tolist() == [1, 1]
    assert int(record["flow_direction"]) == 0


def test_growth_older_than_the_active_timeout_leaves_before_the_packet_that_finds_it(flows: FlowKernel) -> None:
    content = frame(V4, UDP(sport=5_000, dport=53))
    start = flows.now_ns
    for after_ms in (0, 900, 1_100):
        flows.now_ns = start + after_ms * 10**6
        flows.send(content)
    (record,) = flows.records()
    assert int(record["flow_end_reason"]) == FlowEndReason.ACTIVE
    assert record["packets"].tolist() == [2, 0]
    assert abs(int(record["time_end_ns"] - record["time_start_ns"]) - 900 * 10**6) <= 1 << 17
    (rest,) = flows.flush()
    assert rest["packets"].tolist() == [1, 0]


def test_counters_that_are_half_full_are_spilled_and_nothing_is_lost(flows: FlowKernel) -> None:
    """2^23 packets without an export: the entry's word is set so, as if they had come."""
    content = frame(V4, UDP(sport=5_000, dport=53))
    flows.send(content)
    table = np.frombuffer(bpf_syscall.map_memory(flows.pins["table"], 1_024 * BUCKET.itemsize), BUCKET, 1_024)
    (bucket, way), *_ = np.argwhere(table["tag"][:, :7] > 1)
    packets = (1 << 23) - 1
    table["way"]["count"][bucket, way, 0] += np.uint64((packets << 40) + packets * len(content))
    before = spilled(flows)
    flows.send(content)
    flows.send(content)
    assert spilled(flows) - before == 1
    scan = flows.tick()
    assert scan.held_packets == packets + 3
    (record,) = flows.flush()
    assert record["packets"].tolist() == [packets + 3, 0]
    assert record["bytes"].tolist() == [(packets + 3) * len(content), 0]


def spilled(flows: FlowKernel) -> int:
    return int(bpf_syscall.array_of_cpus(flows.pins["exporters"], EXPORTER, entries=1)["spilled"].sum())
