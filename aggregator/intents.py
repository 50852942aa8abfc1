"""Messages of one partition to ranges that are stored exactly once in effect.

Before a range is written, its first and last offset are stated in Kafka: the first as the committed offset, the last
in the commit's metadata. Whoever takes the partition over reads both back and forms exactly that range before any
other, so each table's deduplication token meets the same messages again. The group's coordinator refuses a statement
from a worker that no longer owns the partition; ClickHouse could not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from aggregator.accounts import Span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aggregator.accounts import Place
    from aggregator.decode import Mark, Message, Ring

NO_METADATA: Final = ""


class Intent(msgspec.Struct, frozen=True):
    """What stands in a committed offset's metadata while its range is being written."""

    last: int
    topic_id: str


class Offset(msgspec.Struct, frozen=True):
    """An offset as the group has committed it; without one, where reading begins."""

    offset: int
    metadata: str = NO_METADATA


def to_metadata(last: int, topic_id: str) -> str:
    """The commit metadata that states an intent up to `last`."""
    return msgspec.json.encode(Intent(last=last, topic_id=topic_id)).decode()


def intended_last(committed: Offset, topic_id: str) -> int | None:
    """The last offset of the range that was being written when this was committed; None where none was.

    Metadata of another life of the topic, or of other software, is no intent.
    """
    try:
        intent = msgspec.json.decode(committed.metadata, type=Intent)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return intent.last if intent.topic_id == topic_id and intent.last >= committed.offset else None


@dataclass(slots=True, eq=False)
class Partition:
    """One assigned partition: what came and is not stored yet. Made anew at every assignment, never repaired."""

    place: Place
    stored: int
    """Behind the last offset that is stored; the first offset of the next range."""
    generation: int
    """The group's generation that assigned it."""
    intended: int | None = None
    """Last offset of a range to form again, before any other."""
    committed: int = -1
    """The offset the group knows without metadata; −1 while an intent stands."""
    marks: dict[Ring, Mark] | None = None
    """How far each ring is stored; None until it was read back."""
    expected: int = -1
    """The offset of the next message."""
    held: list[Message] = field(default_factory=list)
    held_bytes: int = 0

    def __post_init__(self) -> None:
        self.expected = max(self.expected, self.stored)

    @property
    def must_advance(self) -> bool:
        """Nothing waits here, and the group has not heard of the last range's end."""
        return self.intended is None and not self.held and self.committed != self.stored

    def take(self, message: Message) -> bool:
        """Whether this message is the next one, and held from now on; others come again, or came before."""
        if message.offset != self.expected:
            return False
        self.held.append(message)
        self.held_bytes += len(message.value)
        self.expected += 1
        return True

    def skip_to(self, earliest: int) -> int:
        """Go on at the earliest offset that Kafka still has; the number of messages that are lost by it.

        A range to form again keeps its name: its tokens stand for what was written of it before.
        """
        lost = max(earliest - self.expected, 0)
        self.expected += lost
        is_intent_gone = self.intended is None or self.expected > self.intended
        if lost and not self.held and is_intent_gone:
            self.stored, self.intended = self.expected, None
        return lost

    def next_range(self) -> list[Message]:
        """The messages of the next range; none while nothing came, or the range to form again is not whole."""
        if self.intended is None:
            return list(self.held)
        if self.expected <= self.intended:
            return []
        return [message for message in self.held if message.offset <= self.intended]

    def span(self, messages: list[Message]) -> Span:
        """First and last offset of a range, as its tokens say them."""
        return Span(self.stored, messages[-1].offset)

    def to_intent(self, span: Span) -> Offset:
        """What the group commits before this range is written."""
        return Offset(span.first, to_metadata(span.last, self.place.topic_id))

    def advance(self, messages: list[Message], marks: Mapping[Ring, Mark]) -> None:
        """This range is stored."""
        self.held = self.held[len(messages) :]
        self.held_bytes -= sum(len(message.value) for message in messages)
        self.stored = messages[-1].offset + 1
        self.intended = None
        self.marks = {**(self.marks or {}), **marks}
        self.committed = -1
