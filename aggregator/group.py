"""A consumer group to what this program knows of it: partitions that are given and taken away, and commits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aggregator.intents import Offset

Key = tuple[str, int]
"""Topic and partition."""


class CommitRefusedError(Exception):
    """The intent was not stated, or nobody knows: read the partition's state back before anything else."""


class Assigned(NamedTuple):
    """A partition that the group has given to this worker."""

    key: Key
    generation: int
    committed: Offset


class Listener(Protocol):
    """Who is told what the group and the topics say."""

    async def on_assigned(self, assigned: Iterable[Assigned]) -> None:
        """These are all partitions of this worker now; what it knew of any before is void."""

    def on_revoked(self) -> None:
        """No partition is this worker's until the next assignment."""

    async def on_message(self, key: Key, *, offset: int, value: bytes) -> None:
        """A message; while this waits, nothing is fetched."""
