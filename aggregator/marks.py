"""`completeness` to ring marks: how far each ring is stored, read back whenever a partition is taken over.

It must be read after the intent: a range whose `completeness` rows are stored is whole, and forming it again finds
nothing new in it.
"""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING, Final

from aggregator.decode import Mark, Ring
from aggregator.write import PAUSE_SECONDS, ClickHouseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from aggregator.accounts import Place
    from aggregator.write import ClickHouse, Observer

_SQL: Final = """
SELECT
    CAST(stored.node AS String) AS node,
    CAST(stored.ring_id AS String) AS ring_id,
    maxIf(behind, topic_id = {topic_id:String} AND partition = {partition:Int32}) AS here,
    max(behind) AS anywhere
FROM
(
    SELECT topic_id, partition, node, ring_id, max(next) AS behind
    FROM completeness
    WHERE topic = {topic:String}
    GROUP BY topic_id, partition, node, ring_id
) AS stored
GROUP BY node, ring_id
"""
"""The inner question is answered by the projection `rings`, so it reads a row a ring and part, not a row a batch."""


def read_marks(
    clickhouse: ClickHouse,
    place: Place,
    *,
    observer: Observer,
    check: Callable[[], None],
    pause: Callable[[float], object],
) -> dict[Ring, Mark]:
    """How far the rings are stored; tries until ClickHouse answers or `check` raises."""
    for seconds in chain(PAUSE_SECONDS, repeat(PAUSE_SECONDS[-1])):
        check()
        try:
            found = clickhouse.query(_SQL, place._asdict())
        except ClickHouseUnavailableError as error:
            observer.retried("completeness", error)
            pause(seconds)
        else:
            return _to_marks(found)
    raise AssertionError("unreachable: the pauses never end")


def _to_marks(found: pa.Table) -> dict[Ring, Mark]:
    columns = (found.column(name).to_pylist() for name in ("node", "ring_id", "here", "anywhere"))
    return {Ring(node, ring): Mark(here, anywhere) for node, ring, here, anywhere in zip(*columns, strict=True)}
