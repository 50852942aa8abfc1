"""The table to the ring and to free places: what the sweep exports, forgets, and leaves for the next one."""

from collections.abc import Iterator

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP

from collector import bpf_syscall
from collector.records import BUCKET, HOT, WAYS, FlowEndReason, InterfaceKind, Mark, Phase, Tag
from collector.sweep import Scan, Sweeper
from tests.kernel.flow_kernel import LOOPBACK, FlowKernel
from tests.kernel.frames import Connection, frame

SECOND = 10**9


@pytest.fixture(autouse=True)
def at_pod(flows: FlowKernel) -> Iterator[None]:
    flows.watch(LOOPBACK, slot=3, kind=InterfaceKind.POD)
    flows.flush()
    flows.now_ns = (flows.now_ns // SECOND + 1_000) * SECOND
    yield
    flows.flush()


def send_datagram(flows: FlowKernel, port: int = 5_000) -> None:
    flows.send(frame(IP(src="10.0.0.1", dst="10.0.0.2"), UDP(sport=port, dport=53)))


def tick_after(flows: FlowKernel, seconds: float) -> Scan:
    """Let time pass, and tick."""
    flows.now_ns += int(seconds * SECOND)
    return flows.tick()


def tags(flows: FlowKernel) -> list[int]:
    """Of the places in use."""
    table = np.frombuffer(bpf_syscall.map_memory(flows.pins["table"], 1_024 * BUCKET.itemsize), BUCKET, 1_024)
    found = table["tag"][:, :WAYS]
    return [int(tag) for tag in found[found != Tag.FREE]]


def test_what_went_quiet_is_exported_and_stays(flows: FlowKernel) -> None:
    send_datagram(flows)
    assert tick_after(flows, 0.4).held_packets == 1
    assert len(flows.records()) == 0
    tick_after(flows, 0.2)
    (record,) = flows.records()
    assert int(record["flow_end_reason"]) == FlowEndReason.IDLE
    scan = tick_after(flows, 0.2)
    assert (scan.conversations, scan.held_packets, scan.held_bytes) == (1, 0, 0)


def test_held_is_what_was_accounted_and_is_in_no_record(flows: FlowKernel) -> None:
    for port in (5_000, 5_001, 5_001):
        send_datagram(flows, port)
    scan = tick_after(flows, 0.1)
    assert (scan.conversations, scan.held_packets, scan.held_bytes) == (2, 3, 3 * 42)


def test_what_is_exported_until_lies_before_the_oldest_packet_that_waits(flows: FlowKernel) -> None:
    first_ns = flows.now_ns
    send_datagram(flows)
    scan = tick_after(flows, 0.3)
    assert first_ns - (1 << 17) <= scan.exported_until_ns <= first_ns
    tick_after(flows, 0.3)
    scan = tick_after(flows, 0.1)
    assert 0 < flows.now_ns - scan.exported_until_ns <= SECOND // 10
    assert scan.position == flows.ring.producer


@pytest.mark.parametrize(
    ("moments", "lifetime"),
    [
        pytest.param("datagram", 30, id="datagrams: 30 s"),
        pytest.param("established", 300, id="an idle connection: 300 s, and keeps its initiator"),
        pytest.param("ended", 2, id="an ended connection: 2 s"),
        pytest.param("half open", 10, id="half open: 10 s"),
    ],
)
def test_a_connection_is_forgotten_by_its_phase(flows: FlowKernel, moments: str, lifetime: int) -> None:
    tcp = Connection(flows)
    if moments == "datagram":
        send_datagram(flows)
    elif moments == "half open":
        tcp.from_client(0, "S", seq=100)
    else:
        tcp.shake_hands()
    if moments == "ended":
        tcp.finish(30)
    last_ns = flows.now_ns
    tick_after(flows, 1)
    flows.now_ns = last_ns + lifetime * SECOND - SECOND // 2
    flows.tick()
    flows.tick()
    assert len(tags(flows)) == 1
    flows.now_ns = last_ns + lifetime * SECOND + SECOND // 10
    flows.tick()
    assert tags(flows) == [Tag.GONE]
    flows.tick()
    assert tags(flows) == []


def test_a_packet_finds_no_gone_place_and_begins_anew(flows: FlowKernel) -> None:
    send_datagram(flows)
    tick_after(flows, 1)
    tick_after(flows, 40)
    assert tags(flows) == [Tag.GONE]
    send_datagram(flows)
    assert min(tags(flows)) == Tag.GONE
    assert len(tags(flows)) == 2
    tick_after(flows, 0)
    assert len(tags(flows)) == 1
    assert flows.flush()["packets"].tolist() == [[1, 0], [1, 0]]


def test_a_place_that_is_free_again_is_empty(flows: FlowKernel) -> None:
    Connection(flows).shake_hands()
    flows.flush()
    table = np.frombuffer(bpf_syscall.map_memory(flows.pins["table"], 1_024 * BUCKET.itemsize), BUCKET, 1_024)
    cold = bpf_syscall.map_memory(flows.pins["cold"], 1_024 * WAYS * 256)
    assert not table.view(np.uint8).any()
    assert not np.frombuffer(cold, np.uint8).any()


def test_a_job_does_nothing_where_a_packet_came_since_it_was_chosen(flows: FlowKernel) -> None:
    send_datagram(flows)
    chosen = flows.sweeper.choose(flows.now_ns + 100 * SECOND)
    flows.now_ns += SECOND // 2
    send_datagram(flows)
    flows.sweeper.carry_out(chosen)
    assert len(flows.records()) == 0
    assert len(flows.flush()) == 1


def test_a_sweeper_killed_between_gone_and_harvest_leaves_it_to_the_next(flows: FlowKernel) -> None:
    """Late packets of a CPU that still held the place are in the entry: the next sweeper exports them."""
    send_datagram(flows)
    tick_after(flows, 1)
    flows.now_ns += 40 * SECOND
    dying = Sweeper(flows.pins)
    dying.carry_out(dying.choose(flows.now_ns))
    assert tags(flows) == [Tag.GONE]
    table = np.frombuffer(bpf_syscall.map_memory(flows.pins["table"], 1_024 * BUCKET.itemsize), BUCKET, 1_024)
    (bucket, way), *_ = np.argwhere(table["tag"][:, :WAYS] == Tag.GONE)
    table["way"]["count"][bucket, way, 0] += np.uint64((3 << 40) + 3 * 42)
    del dying
    flows.records()
    scan = Sweeper(flows.pins).tick(flows.now_ns)
    assert scan.held_packets == 3
    (record,) = flows.records()
    assert record["packets"].tolist() == [3, 0]
    assert tags(flows) == []


def test_a_full_ring_leaves_everything_in_the_table_until_there_is_room(flows: FlowKernel) -> None:
    position = flows.ring.position
    for port in range(flows.ring.capacity + 50):
        send_datagram(flows, 1_024 + port)
    tick_after(flows, 1)
    assert flows.ring.producer - position < flows.ring.capacity + 50
    tick_after(flows, 40)
    refused = flows.sweeper.counters()["refused"]
    assert refused > 0
    parts = [flows.records(), flows.flush()]
    assert sum(int(part["packets"].sum()) for part in parts) == flows.ring.capacity + 50


def test_flush_exports_all_and_leaves_an_empty_table(flows: FlowKernel) -> None:
    send_datagram(flows)
    Connection(flows).shake_hands()
    scan = flows.sweeper.flush(flows.now_ns)
    assert (scan.conversations, scan.held_packets, scan.held_bytes) == (0, 0, 0)
    assert flows.records()["flow_end_reason"].tolist() == [FlowEndReason.FORCED] * 2


def test_the_state_word_has_the_phase_and_marks_where_python_reads_them(flows: FlowKernel) -> None:
    Connection(flows).from_client(0, "S", seq=1)
    table = np.frombuffer(bpf_syscall.map_memory(flows.pins["table"], 1_024 * BUCKET.itemsize), BUCKET, 1_024)
    hot = table["way"][table["tag"][:, :WAYS] > Tag.GONE]
    assert hot.dtype == HOT
    assert hot["state"]["phase"].tolist() == [Phase.SYN_SENT]
    assert hot["state"]["marks"].tolist() == [Mark.READY | Mark.INITIATED]
