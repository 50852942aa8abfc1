"""TCP segments in another order than they were sent to what is a retransmission: only what is sent again."""

import pytest

from collector.records import InterfaceKind
from tests.kernel.flow_kernel import LOOPBACK, FlowKernel, Hook
from tests.kernel.frames import Connection, total

pytestmark = pytest.mark.usefixtures("at_pod")

INWARDS = Hook.TC_IN, Hook.TC_OUT
"""The client's segments come in at the interface."""


def retransmits(tcp: Connection) -> list[int] | int:
    """Segments sent again: the client's, the server's."""
    return total(tcp.kernel.flush(), "retransmits")


def send(tcp: Connection, at_ms: float, first: int, *, length: int = 10) -> None:
    """The client's bytes from `first` on."""
    tcp.from_client(at_ms, "PA", seq=first, ack=1, data=b"q" * length)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        pytest.param([(0, 100), (1, 120), (1.002, 110)], 0, id="overtaken by 2 us"),
        pytest.param([(0, 100), (1, 120), (5, 110)], 0, id="overtaken by 4 ms"),
        pytest.param([(0, 100), (1, 120), (200, 110)], 0, id="overtaken by 199 ms"),
        pytest.param([(0, 100), (1, 120), (1.1, 110), (1.2, 110)], 1, id="what was overtaken comes again"),
        pytest.param([(0, 100), (1, 120), (1.1, 120), (1.2, 110)], 1, id="what overtook comes again"),
        pytest.param(
            [(0, 100), (1, 120), (1, 140), (1, 110), (1, 130), (2, 150)], 0, id="two queues, one behind the other"
        ),
    ],
)
def test_of_a_pods_segments_only_what_comes_again_is_a_retransmission(
    flows: FlowKernel, sent: list[tuple[float, int]], told: int
) -> None:
    tcp = Connection(flows, hooks=INWARDS)
    for at_ms, first in sent:
        send(tcp, at_ms, first)
    assert retransmits(tcp) == [told, 0]


def test_a_segment_of_this_node_is_overtaken_like_a_pods(flows: FlowKernel) -> None:
    """A test-run's buffer has a socket; only egress looks."""
    flows.watch(LOOPBACK, slot=3, kind=InterfaceKind.UPLINK)
    tcp = Connection(flows, hooks=(Hook.TC_OUT, Hook.TC_IN))
    send(tcp, 0, 100)
    send(tcp, 1, 120)
    send(tcp, 199, 110)
    assert retransmits(tcp) == [0, 0]


def test_a_segment_that_holds_more_than_was_missing_is_a_retransmission(flows: FlowKernel) -> None:
    tcp = Connection(flows, hooks=INWARDS)
    send(tcp, 0, 100)
    send(tcp, 1, 120)
    send(tcp, 1.1, 100, length=20)
    assert retransmits(tcp) == [1, 0]


def test_an_overtaken_segment_leaves_the_round_trip_that_is_timed_alone(flows: FlowKernel) -> None:
    tcp = Connection(flows, hooks=INWARDS)
    send(tcp, 0, 100)
    send(tcp, 1, 120)
    send(tcp, 1.1, 110)
    tcp.from_server(5, "A", seq=1, ack=130)
    (record,) = flows.flush()
    assert record["rtt_count"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("late_ms", "told"), [pytest.param(24, 0, id="within a round trip"), pytest.param(26, 1, id="later")]
)
def test_behind_a_network_what_comes_a_round_trip_late_was_lost_and_sent_again(
    flows: FlowKernel, late_ms: float, told: int
) -> None:
    flows.watch(LOOPBACK, slot=3, kind=InterfaceKind.UPLINK)
    tcp = Connection(flows, hooks=INWARDS)
    tcp.shake_hands()
    send(tcp, 100, 101)
    send(tcp, 110, 121)
    send(tcp, 110 + late_ms, 111)
    assert retransmits(tcp) == [told, 0]


@pytest.mark.parametrize(
    ("late_ms", "told"), [pytest.param(2.9, 0, id="within 3 ms"), pytest.param(3.1, 1, id="later")]
)
def test_without_a_handshake_three_milliseconds_tell(flows: FlowKernel, late_ms: float, told: int) -> None:
    flows.watch(LOOPBACK, slot=3, kind=InterfaceKind.UPLINK)
    tcp = Connection(flows, hooks=INWARDS)
    send(tcp, 100, 101)
    send(tcp, 110, 121)
    send(tcp, 110 + late_ms, 111)
    assert retransmits(tcp) == [told, 0]


def test_a_new_connection_has_no_gap_of_the_one_before(flows: FlowKernel) -> None:
    tcp = Connection(flows, hooks=INWARDS)
    send(tcp, 0, 100)
    send(tcp, 1, 900)
    tcp.from_server(2, "R", seq=1)
    tcp.from_client(3, "S", seq=499)
    send(tcp, 4, 500)
    send(tcp, 5, 500)
    assert retransmits(tcp) == [1, 0]
