"""Ring positions to records: what is read stays until it is released, and costs no Python call per record."""

import sys
from collections.abc import Callable, Iterator
from types import FrameType

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP

from collector.records import FLOW_RECORD
from collector.ring import Ring, RingError
from tests.kernel.flow_kernel import RING_BYTES, FlowKernel
from tests.kernel.frames import frame

STEP = FLOW_RECORD.itemsize + 8
"""A record and its header in the ring."""


@pytest.fixture(autouse=True)
def empty(flows: FlowKernel) -> Iterator[None]:
    flows.flush()
    yield
    flows.flush()


@pytest.fixture
def fill(flows: FlowKernel) -> Callable[[int], None]:
    """Put so many records into the ring: one for each source port, from 1,024 on."""

    def put(count: int) -> None:
        content = bytearray(frame(IP(src="10.0.0.1", dst="10.0.0.2"), UDP(sport=1_024, dport=53)))
        for port in range(count):
            content[34:36] = (1_024 + port).to_bytes(2)
            flows.send(bytes(content))
        flows.sweeper.flush(flows.now_ns)

    return put


def test_records_stay_until_they_are_released(flows: FlowKernel, fill: Callable[[int], None]) -> None:
    first = flows.ring.position
    fill(3)
    assert len(flows.ring.read(100, after=first)) == 3
    assert len(flows.ring.read(100, after=first)) == 3
    assert len(Ring(flows.pins["flows_ring"], FLOW_RECORD).read(100, after=first)) == 3
    flows.ring.release(first + 2)
    assert (flows.ring.position, flows.ring.producer) == (first + 2, first + 3)
    assert len(flows.ring.read(100, after=first + 2)) == 1


def test_reading_goes_on_behind_what_was_read(flows: FlowKernel, fill: Callable[[int], None]) -> None:
    first = flows.ring.position
    fill(5)
    parts = [flows.ring.read(2, after=first + read) for read in (0, 2, 4)]
    assert [len(part) for part in parts] == [2, 2, 1]
    assert sorted(np.concatenate(parts)["src_port"].tolist()) == [1_024, 1_025, 1_026, 1_027, 1_028]


def test_a_run_over_the_rings_end_is_whole(flows: FlowKernel, fill: Callable[[int], None]) -> None:
    def left() -> int:
        return (-flows.ring.position * STEP % RING_BYTES) // STEP

    while left() > 2:
        fill(min(1_000, left() - 2))
        flows.ring.release(flows.ring.producer)
    first = flows.ring.position
    fill(6)
    assert first * STEP // RING_BYTES < flows.ring.producer * STEP // RING_BYTES
    assert sorted(flows.ring.read(100, after=first)["src_port"].tolist()) == list(range(1_024, 1_030))


@pytest.mark.parametrize("offset", [-1, 1])
def test_a_position_that_the_ring_does_not_have_is_refused(flows: FlowKernel, offset: int) -> None:
    position = flows.ring.position + offset
    with pytest.raises(ValueError, match="is not between"):
        flows.ring.read(1, after=position)
    with pytest.raises(ValueError, match="is not between"):
        flows.ring.release(position)


def test_records_of_another_size_are_an_error(flows: FlowKernel, fill: Callable[[int], None]) -> None:
    fill(1)
    other = Ring(flows.pins["flows_ring"], np.dtype([("bytes", "V168")]))  # two of these take one's place
    with pytest.raises(RingError, match="no record of 168 bytes"):
        other.read(1, after=other.position)


def test_the_number_of_python_calls_does_not_grow_with_the_records(
    flows: FlowKernel, fill: Callable[[int], None]
) -> None:
    first = flows.ring.position
    fill(1_000)
    few = calls_of(lambda: flows.ring.read(10, after=first))
    many = calls_of(lambda: flows.ring.read(1_000, after=first))
    assert few == many


def calls_of(work: Callable[[], object]) -> int:
    """Calls of Python and C functions while it works."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count
