"""Connections to their ends: opened, closed, refused and no answer, each in exactly one record of a connection."""

import numpy as np
import pytest

from collector.records import FlowEndReason
from collector.sweep import Policy
from tests.kernel.flow_kernel import FlowKernel
from tests.kernel.frames import Connection, counts, endpoints, near, total

pytestmark = pytest.mark.usefixtures("at_pod")

AT_ONCE = Policy(quiet_ns=0)


@pytest.fixture
def tcp(flows: FlowKernel) -> Connection:
    return Connection(flows)


def test_both_fins_close_a_connection_once_and_the_last_ack_makes_no_ghost(tcp: Connection) -> None:
    tcp.shake_hands()
    tcp.finish(1000)
    ended = tcp.kernel.records()
    assert ended["flow_end_reason"].tolist()[-1] == FlowEndReason.DETECTED
    scan = tcp.kernel.tick(AT_ONCE)
    late = tcp.kernel.records()
    assert counts(np.concatenate([ended, late])) == {"opened": 1, "closed": 1}
    assert scan.conversations == 1, "the last ACK is in the connection's own entry"
    assert endpoints(late[0]) == endpoints(ended[0])
    assert late["packets"].tolist() == [[1, 0]]


def test_a_reset_closes_an_open_connection(tcp: Connection) -> None:
    tcp.shake_hands()
    tcp.from_server(50, "R", seq=901)
    records = tcp.kernel.flush()
    assert counts(records) == {"opened": 1, "closed": 1}
    assert total(records, "resets") == [0, 1]


def test_a_reset_refuses_a_syn(tcp: Connection) -> None:
    tcp.from_client(0, "S", seq=100)
    tcp.from_server(1, "RA", seq=0, ack=101)
    records = tcp.kernel.records()
    assert counts(records) == {"refused": 1}
    assert endpoints(records[0]) == ("10.244.1.7", 41_000, "10.244.2.9", 8_080, 6)
    assert records["packets"].tolist() == [[1, 1]]


def test_a_second_reset_refuses_nothing_more(tcp: Connection) -> None:
    tcp.from_client(0, "S", seq=100)
    tcp.from_client(1, "S", seq=100)
    tcp.from_server(2, "RA", seq=0, ack=101)
    tcp.from_server(3, "RA", seq=0, ack=101)
    assert counts(tcp.kernel.flush()) == {"refused": 1}


def test_a_syn_without_answer_is_counted_after_three_seconds_once(tcp: Connection) -> None:
    policy = Policy()
    for at_ms in (0, 1_000, 3_000):
        tcp.from_client(at_ms, "S", seq=100)
    tcp.pass_time(5_900)
    tcp.kernel.tick(policy)
    assert counts(tcp.kernel.records()) == {}
    tcp.pass_time(6_100)
    tcp.kernel.tick(policy)
    assert counts(tcp.kernel.records()) == {"no_answer": 1}
    tcp.from_client(7_000, "S", seq=100)
    tcp.pass_time(11_000)
    tcp.kernel.tick(policy)
    assert counts(tcp.kernel.flush()) == {}


def test_a_late_answer_still_opens(tcp: Connection) -> None:
    tcp.from_client(0, "S", seq=100)
    tcp.pass_time(4_000)
    tcp.kernel.tick()
    tcp.from_server(4_100, "SA", seq=900, ack=101)
    tcp.from_client(4_200, "A", seq=101, ack=901)
    assert counts(tcp.kernel.flush()) == {"opened": 1, "no_answer": 1}


def test_another_attempt_on_the_same_ports_leaves_the_first_unanswered(tcp: Connection) -> None:
    tcp.from_client(0, "S", seq=100)
    tcp.from_client(500, "S", seq=77_000)
    tcp.from_server(510, "SA", seq=900, ack=77_001)
    tcp.from_client(511, "A", seq=77_001, ack=901)
    assert counts(tcp.kernel.flush()) == {"opened": 1, "no_answer": 1}


def test_data_of_the_client_opens_where_the_answer_passes_elsewhere(tcp: Connection) -> None:
    tcp.from_client(0, "S", seq=100)
    tcp.from_client(5, "A", seq=101, ack=901)
    (record,) = tcp.kernel.flush()
    assert counts(record[None]) == {"opened": 1}
    assert record["handshake_ns"].tolist() == [0, 0]


def test_a_new_syn_after_the_end_begins_anew_with_its_own_client(tcp: Connection) -> None:
    tcp.shake_hands()
    tcp.finish(100)
    tcp.from_server(200, "S", seq=5_000)
    tcp.from_client(220, "SA", seq=7_000, ack=5_001)
    tcp.from_server(225, "A", seq=5_001, ack=7_001)
    records = tcp.kernel.flush()
    assert counts(records) == {"opened": 2, "closed": 1}
    assert [endpoints(record)[:2] for record in records] == [
        ("10.244.1.7", 41_000),
        ("10.244.1.7", 41_000),
        ("10.244.2.9", 8_080),
    ]
    assert near(records[-1]["handshake_ns"][0], 20)
    assert total(records, "retransmits") == [0, 0]


def test_a_connection_whose_beginning_was_not_seen_is_closed_by_its_fins(tcp: Connection) -> None:
    tcp.from_client(0, "A", seq=100, ack=900)
    tcp.finish(10)
    records = tcp.kernel.flush()
    assert counts(records) == {"closed": 1}
    assert records["biflow_direction"].tolist() == [0] * len(records)


def test_a_reset_out_of_nowhere_closes_nothing(tcp: Connection) -> None:
    tcp.from_server(0, "R", seq=1)
    records = tcp.kernel.flush()
    assert counts(records) == {}
    assert total(records, "resets") == [0, 1]
