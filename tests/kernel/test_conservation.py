"""The conservation law: each packet and byte at the hooks is in exactly one record, or counted as lost.

Two CPUs with packets without a pause, a sweeper without a pause, and a reader that takes its time or does not.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from collector.records import FLOW_RECORD, InterfaceKind, Outcome
from tests.kernel.conftest import TRAFFIC
from tests.kernel.flow_kernel import LOOPBACK, FlowKernel
from tests.kernel.traffic import prepare, restless_sweeper, sent, two_busy_cpus

SLOT = 2
HTTPS = 443
SECONDS = 3
PLACES = 512 // 2 * 7


@pytest.fixture(scope="module")
def hurried() -> FlowKernel:
    """A table of 1,792 places, a ring of 4,096 records, and an active timeout of 1 ms: everything happens often."""
    flows = FlowKernel(
        *("-DKNI_CONVERSATIONS=512", "-DKNI_RING_BYTES=1048576", "-DKNI_ACTIVE_TIMEOUT_NS=1000000ull"),
        "-DKNI_CLOCK_PRECISE",
        more=TRAFFIC.read_text(encoding="utf-8"),
    )
    flows.watch(LOOPBACK, slot=SLOT, kind=InterfaceKind.POD)
    return flows


class Run(NamedTuple):
    """What the hooks saw, and what the records say."""

    seen: npt.NDArray[np.void]
    records: npt.NDArray[np.void]

    @property
    def differences(self) -> tuple[int, int]:
        """Packets and bytes at the hooks that are in no record and not counted as lost; negative: twice."""
        return self._difference("packets"), self._difference("bytes")

    def _difference(self, unit: str) -> int:
        return int(self.seen[unit].sum()) - int(self.seen[unit][Outcome.LOST]) - int(self.records[unit].sum())


class Reader:
    """Takes records out of the ring, again and again."""

    def __init__(self, flows: FlowKernel) -> None:
        self.flows = flows
        self.parts: list[npt.NDArray[np.void]] = []

    def read_for(self, seconds: float) -> None:
        """Keep the ring empty."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.parts.append(self.flows.records())

    def read_rest(self) -> npt.NDArray[np.void]:
        """All records there were, when nothing comes any more."""
        self.flows.now_ns = time.monotonic_ns()
        self.parts.append(self.flows.flush())
        return np.concatenate([np.zeros(0, FLOW_RECORD), *self.parts])


def run(flows: FlowKernel, conversations: int, *, during: Callable[[Reader, Callable[[], None]], None]) -> Run:
    """Two busy CPUs and a sweeper, while `during` reads; then everything is flushed."""
    flows.now_ns = time.monotonic_ns()
    flows.flush()
    prepare(flows, min(conversations, 1 << 16))
    before = totals(flows)
    reader = Reader(flows)
    with ExitStack() as stack:
        stack.enter_context(two_busy_cpus(flows))
        during(reader, stack.enter_context(restless_sweeper(flows)))
    records = reader.read_rest()
    after = totals(flows)
    seen = np.zeros((), after.dtype)
    for unit in ("frames", "packets", "bytes"):
        seen[unit] = after[unit] - before[unit]
    return Run(seen, records)


def totals(flows: FlowKernel) -> npt.NDArray[np.void]:
    row: npt.NDArray[np.void] = flows.totals()[SLOT * 2].copy()
    return row


def by_conversation(records: npt.NDArray[np.void], conversations: int) -> list[float]:
    """Packets by the generator's number: the port that is not 443."""
    port = np.where(records["dst_port"] == HTTPS, records["src_port"], records["dst_port"])
    number = port.byteswap()
    return [*np.bincount(number, records["packets"].sum(axis=1), conversations)]


def keep_reading(reader: Reader, _restart: Callable[[], None]) -> None:
    reader.read_for(SECONDS)


@pytest.mark.parametrize("conversations", [1, 1_024], ids=["one that all CPUs share", "1,024"])
def test_every_packet_is_in_one_record_of_its_own_conversation(hurried: FlowKernel, conversations: int) -> None:
    result = run(hurried, conversations, during=keep_reading)
    assert result.differences == (0, 0)
    assert int(result.seen["packets"][Outcome.LOST]) == 0
    assert by_conversation(result.records, conversations) == sent(hurried, conversations).tolist()
    assert len(result.records) > 1_000, "much was exported while packets came"


def test_nothing_is_lost_while_the_table_is_full(hurried: FlowKernel) -> None:
    """65,536 conversations for 1,792 places: what finds none is a record of its own."""
    result = run(hurried, 1 << 16, during=keep_reading)
    assert result.differences == (0, 0)
    singles = result.records[result.records["flow_end_reason"] == 5]
    assert len(singles) > PLACES


def test_a_stalled_reader_makes_records_coarser_and_loses_nothing(hurried: FlowKernel) -> None:
    def stall(reader: Reader, _restart: Callable[[], None]) -> None:
        for _ in range(3):
            wait_until_full(reader.flows)
            reader.read_for(0.2)

    result = run(hurried, 1_024, during=stall)
    assert result.differences == (0, 0)
    assert int(result.seen["packets"][Outcome.LOST]) == 0
    assert by_conversation(result.records, 1_024) == sent(hurried, 1_024).tolist()


def test_a_full_table_and_a_full_ring_lose_and_count_what_they_lose(hurried: FlowKernel) -> None:
    def never_read(reader: Reader, _restart: Callable[[], None]) -> None:
        wait_until_full(reader.flows)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            reader.flows.totals()

    result = run(hurried, 1 << 16, during=never_read)
    assert int(result.seen["packets"][Outcome.LOST]) > 0
    assert result.differences == (0, 0)


def test_a_sweeper_killed_again_and_again_leaves_nothing_half_done(hurried: FlowKernel) -> None:
    def kill_often(reader: Reader, restart: Callable[[], None]) -> None:
        for n in range(40):
            reader.read_for(0.05 + n / 1_000)
            restart()

    result = run(hurried, 1_024, during=kill_often)
    assert result.differences == (0, 0)
    assert by_conversation(result.records, 1_024) == sent(hurried, 1_024).tolist()


def wait_until_full(flows: FlowKernel) -> None:
    """Until the ring has no room for a record."""
    until = time.monotonic() + 10
    while flows.ring.producer - flows.ring.position < flows.ring.capacity - 1:
        assert time.monotonic() < until, "the ring never filled"
