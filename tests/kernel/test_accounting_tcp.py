"""TCP segments to latencies: handshake, round trips, retransmissions, and what a record says of its ends."""

from itertools import count

import numpy as np
import numpy.typing as npt
import pytest

from collector.round_trips import to_quantiles
from collector.sweep import Policy
from tests.kernel.flow_kernel import FlowKernel, Hook
from tests.kernel.frames import CLIENT_V6, MILLISECOND, SERVER_V6, Connection, counts, endpoints, near, total

pytestmark = pytest.mark.usefixtures("at_pod")

AT_ONCE = Policy(quiet_ns=0)
PORTS = count(42_000)


@pytest.fixture
def tcp(flows: FlowKernel) -> Connection:
    """One that nothing is remembered of."""
    return Connection(flows, client_port=next(PORTS))


def test_the_handshake_is_timed_in_both_halves(tcp: Connection) -> None:
    tcp.shake_hands()
    (record,) = tcp.kernel.flush()
    assert near(record["handshake_ns"][0], 20)
    assert near(record["handshake_ns"][1], 5)
    assert counts(record[None]) == {"opened": 1}


def test_the_handshake_of_ipv6_is_timed(flows: FlowKernel) -> None:
    tcp = Connection(flows, client=CLIENT_V6, server=SERVER_V6)
    tcp.shake_hands()
    (record,) = flows.flush()
    assert endpoints(record) == (CLIENT_V6, 41_000, SERVER_V6, 8_080, 6)
    assert near(record["handshake_ns"][0], 20)


def test_a_repeated_syn_is_timed_from_the_last_one(tcp: Connection) -> None:
    tcp.from_client(0, "S", seq=100)
    tcp.from_client(1_000, "S", seq=100)
    tcp.from_server(1_020, "SA", seq=900, ack=101)
    records = tcp.kernel.flush()
    assert near(records["handshake_ns"][:, 0].max(), 20)
    assert total(records, "retransmits") == [1, 0]


def test_a_round_trip_lasts_until_the_ack_of_the_datas_end(tcp: Connection) -> None:
    tcp.from_client(0, "PA", seq=101, ack=901, data=b"q" * 50)
    tcp.from_server(10, "A", seq=901, ack=151)
    tcp.from_server(12, "PA", seq=901, ack=151, data=b"r" * 500)
    tcp.from_client(15, "A", seq=151, ack=1401)
    (record,) = tcp.kernel.flush()
    assert record["rtt_count"].tolist() == [1, 1]
    assert near(record["rtt_sum_ns"][0], 10)
    assert near(record["rtt_sum_ns"][1], 3)
    assert near(record["rtt_min_ns"][0], 10)
    assert near(record["rtt_max_ns"][1], 3)
    assert abs(to_ns(record["rtt_samples"][0][0]) / MILLISECOND - 10) < 0.01


def to_ns(sample: np.integer) -> int:
    return (int(sample) & 2047) << (int(sample) >> 11)


def test_an_ack_of_earlier_data_is_no_round_trip(tcp: Connection) -> None:
    tcp.from_client(0, "PA", seq=101, ack=901, data=b"q" * 50)
    tcp.from_server(10, "A", seq=901, ack=140)
    assert total(tcp.kernel.flush(), "rtt_count") == [0, 0]


def test_each_segment_of_a_burst_is_timed_by_the_ack_of_its_own_end(tcp: Connection) -> None:
    for n in range(10):
        tcp.from_client(n, "A", seq=101 + n * 50, ack=901, data=b"q" * 50)
    for n in range(1, 10, 2):
        tcp.from_server(100 + n, "A", seq=901, ack=151 + n * 50)
    (record,) = tcp.kernel.flush()
    assert record["rtt_count"].tolist() == [5, 0]
    assert near(record["rtt_min_ns"][0], 100)
    assert near(record["rtt_max_ns"][0], 100)


def test_thousands_of_segments_under_way_hardly_displace_each_other(tcp: Connection) -> None:
    for n in range(4_000):
        tcp.from_client(0, "A", seq=101 + n * 50, ack=901, data=b"q" * 50)
    for n in range(4_000):
        tcp.from_server(10, "A", seq=901, ack=151 + n * 50)
    assert 3_960 <= int(tcp.kernel.flush()["rtt_count"][:, 0].sum()) <= 4_000


def test_an_ack_that_a_later_one_overtook_is_no_round_trip(tcp: Connection) -> None:
    tcp.from_client(0, "A", seq=101, ack=901, data=b"q" * 50)
    tcp.from_client(1, "PA", seq=151, ack=901, data=b"q" * 50)
    tcp.from_server(11, "A", seq=901, ack=201)
    tcp.from_server(12, "A", seq=901, ack=151)
    (record,) = tcp.kernel.flush()
    assert record["rtt_count"].tolist() == [1, 0]
    assert near(record["rtt_max_ns"][0], 10)


@pytest.mark.parametrize(
    ("segments", "acks", "timed"),
    [
        pytest.param(5, [1, 2, 3, 4, 5], 5, id="each of a few"),
        pytest.param(8, [2, 4, 6, 8], 4, id="every second ACK left out"),
        pytest.param(20, list(range(1, 21)), 7, id="every third of many, and the last"),
        pytest.param(24, [24], 1, id="only the end"),
    ],
)
def test_an_ack_within_a_super_packet_is_a_round_trip(
    tcp: Connection, segments: int, acks: list[int], timed: int
) -> None:
    tcp.from_client(0, "PA", seq=101, ack=901, data=b"q" * 50 * segments, segments=segments)
    for n in acks:
        tcp.from_server(10, "A", seq=901, ack=101 + n * 50)
    (record,) = tcp.kernel.flush()
    assert record["rtt_count"].tolist() == [timed, 0]
    assert near(record["rtt_min_ns"][0], 10)
    assert near(record["rtt_max_ns"][0], 10)


def test_a_super_packet_that_is_sent_again_is_not_timed(tcp: Connection) -> None:
    for at_ms in (0, 200):
        tcp.from_client(at_ms, "PA", seq=101, ack=901, data=b"q" * 250, segments=5)
    for n in range(1, 6):
        tcp.from_server(210, "A", seq=901, ack=101 + n * 50)
    (record,) = tcp.kernel.flush()
    assert record["retransmits"].tolist() == [5, 0]
    assert record["rtt_count"].tolist() == [0, 0]


def test_an_ack_that_comes_again_is_no_second_round_trip(tcp: Connection) -> None:
    tcp.from_client(0, "PA", seq=101, ack=901, data=b"q" * 50)
    tcp.from_server(10, "A", seq=901, ack=151)
    tcp.from_server(11, "A", seq=901, ack=101)
    tcp.from_server(12, "A", seq=901, ack=151)
    assert total(tcp.kernel.flush(), "rtt_count") == [1, 0]


def test_a_retransmission_is_counted_and_its_ack_is_no_sample(tcp: Connection) -> None:
    tcp.from_client(0, "PA", seq=101, ack=901, data=b"q" * 50)
    tcp.from_client(200, "PA", seq=101, ack=901, data=b"q" * 50)
    tcp.from_server(210, "A", seq=901, ack=151)
    (record,) = tcp.kernel.flush()
    assert record["retransmits"].tolist() == [1, 0]
    assert record["rtt_count"].tolist() == [0, 0]


def test_sequence_numbers_wrap_around(tcp: Connection) -> None:
    tcp.from_client(0, "PA", seq=2**32 - 20, ack=1, data=b"q" * 50)
    tcp.from_server(10, "A", seq=1, ack=30)
    tcp.from_client(20, "PA", seq=30, ack=1, data=b"q" * 50)
    (record,) = tcp.kernel.flush()
    assert record["rtt_count"].tolist() == [1, 0]
    assert record["retransmits"].tolist() == [0, 0]


def exchange(tcp: Connection, round_trips_ms: npt.NDArray[np.float64]) -> npt.NDArray[np.void]:
    """Questions and ACKs with these round trips: the records of it."""
    for n, round_trip in enumerate(round_trips_ms):
        tcp.from_client(n / 1000, "PA", seq=100 + n * 10, ack=1, data=b"q" * 10)
        tcp.from_server(n / 1000 + round_trip, "A", seq=1, ack=110 + n * 10)
    return tcp.kernel.flush()


def test_of_many_round_trips_sixteen_are_kept_and_all_are_in_lanes(tcp: Connection) -> None:
    (record,) = exchange(tcp, 1 + np.arange(200) / 1000)
    samples = [to_ns(sample) for sample in record["rtt_samples"][0]]
    assert int(record["rtt_count"][0]) == int(record["rtt_lanes"][0].sum()) == 200
    assert all(0.99 * MILLISECOND < sample < 1.21 * MILLISECOND for sample in samples)
    assert max(samples) > 1.02 * MILLISECOND, "not the first sixteen"


def shapes() -> dict[str, npt.NDArray[np.float64]]:
    """Round trips in milliseconds."""
    random = np.random.default_rng(7)
    return {
        "a sender's bursts": random.lognormal(np.log(0.3), 0.8, 300),
        "all about the same, and two far away": np.r_[0.05, 200, random.normal(5, 0.05, 298)],
        "far away ones last": np.r_[random.normal(5, 0.05, 298), 200, 0.002],
        "two far apart": np.r_[random.normal(0.05, 0.002, 180), random.normal(40, 0.5, 120)],
        "rising over five decades": np.geomspace(0.001, 500, 300),
        "falling over five decades": np.geomspace(500, 0.001, 300),
        "one value": np.full(300, 0.123),
    }


@pytest.mark.parametrize("shape", list(shapes()))
def test_the_sixteen_that_stand_for_many_round_trips_are_their_quantiles(tcp: Connection, shape: str) -> None:
    round_trips = shapes()[shape]
    records = exchange(tcp, round_trips)
    assert records["rtt_count"].tolist() == [[300, 0]]
    found = np.sort(to_quantiles(records, 0)[0]) / MILLISECOND
    is_wide = round_trips.max() > 10**5 * round_trips.min()  # a lane holds an octave then
    assert np.median(found) == pytest.approx(np.median(round_trips), rel=0.15 if is_wide else 0.05)
    ranks = np.searchsorted(np.sort(round_trips), [found * 0.98, found * 1.02]) / len(round_trips)
    wanted = (np.arange(16) + 0.5) / 16
    assert np.maximum(ranks[0] - wanted, wanted - ranks[1]).max() < 1 / 16


def test_flags_are_those_of_the_record(tcp: Connection) -> None:
    tcp.shake_hands()
    assert tcp.kernel.flush()["tcp_flags"].tolist() == [[0x12, 0x12]]


@pytest.mark.parametrize(
    ("hooks", "direction"),
    [
        pytest.param((Hook.TC_IN, Hook.TC_OUT), 0, id="the client behind the interface"),
        pytest.param((Hook.TC_OUT, Hook.TC_IN), 1, id="the server behind the interface"),
    ],
)
def test_a_record_says_whether_the_clients_packets_come_in(
    flows: FlowKernel, hooks: tuple[Hook, Hook], direction: int
) -> None:
    tcp = Connection(flows, hooks=hooks)
    tcp.from_server(0, "A", seq=1)
    (from_server,) = flows.flush()
    tcp.from_client(0, "S", seq=1)
    (from_client,) = flows.flush()
    assert from_server["flow_direction"] == from_client["flow_direction"] == direction


def test_a_socket_of_this_node_is_remembered(flows: FlowKernel) -> None:
    """A test-run's buffer has a socket; only egress looks."""
    tcp = Connection(flows, hooks=(Hook.TC_IN, Hook.TC_OUT))
    tcp.from_client(0, "A", seq=1)
    flows.tick(AT_ONCE)
    tcp.from_server(1, "A", seq=1)
    flows.tick(AT_ONCE)
    tcp.from_client(2, "A", seq=1)
    flows.tick(AT_ONCE)
    assert flows.records()["local_socket"].tolist() == [0, 1, 1]
