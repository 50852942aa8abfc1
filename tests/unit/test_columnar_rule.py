"""The rule that makes Python fast enough: no Python call per record, from a message to the blocks that are inserted."""

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import pytest

from aggregator.accounts import Place, Span
from aggregator.assemble import blocks, identify
from aggregator.decode import Message, decode
from aggregator.identity.snapshot import Snapshot
from aggregator.native import to_native
from schemas import drop_batch, flow_batch
from schemas.topics import DROPS, FLOWS
from tests.flow_records import SECOND, drop_records, flow_records, header
from tests.known_pods import known_pods

NOW = 1_800_000_000 * SECOND
SMALL, FACTOR = 100, 100


def calls_of(work: Callable[[], object]) -> int:
    """How many Python and C functions are called from Python meanwhile."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def stored(topic: str, value: bytes, snapshot: Snapshot) -> int:
    """The data path of one message; how many blocks came out, as they are sent."""
    decoded = decode(topic, [Message(0, value, NOW)], marks={}, now_ns=NOW)
    place = Place(topic, "id", 0)
    found = identify(place, Span(0, 0), decoded=decoded, snapshot=snapshot, now_ns=NOW)
    return len([to_native(block.rows) for block in blocks(found)])


def message(topic: str, count: int) -> bytes:
    """A batch of so many records, all of one window."""
    if topic == FLOWS:
        records = flow_records(count, seed=1, end_ns=NOW, span_ns=1)
        return flow_batch.write_batch(records, header(0, at_ns=NOW))
    return drop_batch.write_batch(drop_records(count, seed=1, end_ns=NOW), header(0, at_ns=NOW))


@pytest.mark.parametrize(("topic", "tables"), [(FLOWS, 5), (DROPS, 4)], ids=["flows", "drops"])
def test_calls_do_not_grow_when_the_batch_grows_a_hundredfold(topic: str, tables: int) -> None:
    snapshot = known_pods()
    small, large = (message(topic, count) for count in (SMALL, SMALL * FACTOR))
    assert stored(topic, small, snapshot) == stored(topic, large, snapshot) == tables
    few, many = (calls_of(partial(stored, topic, value, snapshot)) for value in (small, large))
    assert many <= few * 1.02
