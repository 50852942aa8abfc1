"""Messages of one partition to one record batch: repetitions skipped, gaps counted, the unreadable set aside.

A collector sends again what it has no answer for, so the same ring positions may come twice; a position is taken once,
and positions that never came are a loss that is known. `marks` is what has been stored: it moves when the range's
`completeness` rows are acknowledged, never here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from schemas import drop_batch, flow_batch, topics
from schemas.batch import FUTURE_NS, PAST_NS, Batch, BatchHeader, UnreadableBatchError
from schemas.interface_totals import read_totals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt


class Reader(Protocol):
    """A topic's own `read_batch`."""

    def __call__(self, value: bytes, *, now_ns: int) -> Batch:
        """The batch in a message value. Raises: UnreadableBatchError."""


READERS: Final[dict[str, Reader]] = {topics.FLOWS: flow_batch.read_batch, topics.DROPS: drop_batch.read_batch}
EMPTY: Final = {
    topic: pa.record_batch([pa.array([], field.type) for field in schema], schema=schema)
    for topic, schema in ((topics.FLOWS, flow_batch.SCHEMA), (topics.DROPS, drop_batch.SCHEMA))
}
NO_TOTALS: Final = read_totals(b"")


class Message(NamedTuple):
    """A Kafka message as it came."""

    offset: int
    value: bytes
    arrived_ns: int


class Ring(NamedTuple):
    """Whose positions these are."""

    node: str
    ring_id: str


class Mark(NamedTuple):
    """How far a ring has been stored."""

    next: int
    """Behind the highest position that this partition of this topic has stored: anything below is a repetition."""
    known: int
    """Behind the highest position stored at all, also under the topic's earlier lives: above it, a hole is a gap."""


class Link(NamedTuple):
    """One batch of a ring's chain: what `completeness` says about it."""

    header: BatchHeader
    totals: pa.RecordBatch
    first: int
    next: int
    gap: int
    repeated: int
    arrived_ns: int


class Unreadable(NamedTuple):
    """A message that will never be a batch."""

    message: Message
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """A range of messages as columns."""

    batches: Sequence[Batch]
    """What is new in each readable message; empty ones too."""
    links: Sequence[Link]
    """One for each batch, in the same order."""
    records: pa.RecordBatch
    """All batches one after the other."""
    link_of_record: npt.NDArray[np.int32]
    unreadable: Sequence[Unreadable]
    marks: Mapping[Ring, Mark]
    """What will be true when this range is stored; only rings that it speaks of."""


def decode(topic: str, messages: Sequence[Message], *, marks: Mapping[Ring, Mark], now_ns: int) -> Decoded:
    """The messages' new records as one batch; never raises for what stands in a message."""
    batches: list[Batch] = []
    links: list[Link] = []
    unreadable: list[Unreadable] = []
    moved: dict[Ring, Mark] = {}
    for message in messages:
        try:
            batch = READERS[topic](message.value, now_ns=now_ns)
            totals = _check_header(batch.header, now_ns)
        except UnreadableBatchError as error:
            unreadable.append(Unreadable(message, error.reason, error.detail))
            continue
        ring = Ring(batch.header.node, batch.header.ring_id)
        mark = moved.get(ring) or marks.get(ring) or Mark(0, 0)
        new, link = _join(batch, mark, totals=totals, arrived_ns=message.arrived_ns)
        moved[ring] = Mark(max(mark.next, link.next), max(mark.known, link.next))
        batches.append(new)
        links.append(link)
    sizes = [batch.records.num_rows for batch in batches]
    records = pa.concat_batches([batch.records for batch in batches] or [EMPTY[topic]])
    link_of_record = np.repeat(np.arange(len(sizes), dtype="i4"), sizes)
    return Decoded(batches, links, records, link_of_record, unreadable, moved)


def _join(batch: Batch, mark: Mark, *, totals: pa.RecordBatch, arrived_ns: int) -> tuple[Batch, Link]:
    """What of a batch is new behind the mark, and its place in the chain."""
    header = batch.header
    repeated = min(max(mark.next - header.first, 0), batch.records.num_rows)
    new = Batch(header, batch.records.slice(repeated))
    gap = max(header.first - max(mark.next, mark.known), 0)
    return new, Link(header, totals, header.first + repeated, batch.next, gap, repeated, arrived_ns)


def _check_header(header: BatchHeader, now_ns: int) -> pa.RecordBatch:
    """The totals in a header whose times are possible. Raises: UnreadableBatchError."""
    latest = max(header.created_ns, header.exported_until_ns, header.counting_since_ns)
    if latest > now_ns + FUTURE_NS or header.created_ns < now_ns - PAST_NS:
        raise UnreadableBatchError("impossible_time", f"header created at {header.created_ns}, read at {now_ns}")
    if not header.totals:
        return NO_TOTALS
    try:
        return read_totals(header.totals)
    except (pa.ArrowException, StopIteration, OSError) as error:
        raise UnreadableBatchError("wrong_header", f"totals: {error!s:.200}") from error
