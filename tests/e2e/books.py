"""Batches of a ring to the books of its interfaces: what hooks saw, what records say, and the difference."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from schemas.batch import Batch
from schemas.interface_totals import OUTCOMES, read_totals

Hook = tuple[str, int]
"""Interface and direction of the packets, 0 comes in."""

NUMBERS = ("flow_direction", "protocol", "dst_port", "packets", "bytes", "reverse_packets", "reverse_bytes")


class Sum(NamedTuple):
    """Packets and frame bytes."""

    packets: int
    size: int

    def __add__(self, other: "Sum") -> "Sum":  # type: ignore[override]
        return Sum(self.packets + other.packets, self.size + other.size)

    def __sub__(self, other: "Sum") -> "Sum":
        return Sum(self.packets - other.packets, self.size - other.size)


NOTHING = Sum(0, 0)


def unrepeated(batches: Sequence[Batch]) -> Iterator[pa.RecordBatch]:
    """Records of one ring in order, each position once. Fails at a gap: a record that never arrived."""
    reached = 0
    for batch in batches:
        first = batch.header.first
        assert first <= reached, f"positions {reached} to {first} are missing"
        yield batch.records.slice(min(reached - first, batch.records.num_rows))
        reached = max(reached, batch.next)


def reached(batches: Sequence[Batch]) -> int:
    """The position behind the last record that arrived."""
    return max([0, *(batch.next for batch in batches)])


def repeated(batches: Sequence[Batch]) -> int:
    """Records that arrived more than once."""
    return sum(batch.next - batch.header.first for batch in batches) - reached(batches)


def table_of(batches: Sequence[Batch], *, before: int | None = None) -> pa.Table:
    """All records of a ring as one table, each position once; `before` a position, or all."""
    records = pa.Table.from_batches(list(unrepeated(batches)))
    return records.slice(0, before).unify_dictionaries().combine_chunks()


def records_by_hook(records: pa.Table) -> dict[Hook, Sum]:
    """What records say that passed at each hook."""
    sums: dict[Hook, Sum] = {}
    if not records.num_rows:
        return sums
    columns = {name: records.column(name).to_numpy().astype("i8") for name in NUMBERS}
    interface = records.column("interface").chunk(0)
    for index, name in enumerate(interface.dictionary.to_pylist()):
        is_here = interface.indices.to_numpy() == index
        for client in (0, 1):
            chosen = is_here & (columns["flow_direction"] == client)
            for direction, prefix in ((client, ""), (1 - client, "reverse_")):
                found = (int(columns[f"{prefix}{unit}"][chosen].sum()) for unit in ("packets", "bytes"))
                sums[name, direction] = sums.get((name, direction), NOTHING) + Sum(*found)
    return sums


def totals_by_hook(batches: Sequence[Batch]) -> dict[Hook, dict[str, int]]:
    """What each hook counted by outcome and unit, as told last; "frames", "packets", "bytes" are of all outcomes."""
    newest: dict[Hook, dict[str, int]] = {}
    for batch in batches:
        for row in read_totals(batch.header.totals).to_pylist():
            told = newest.setdefault((row["interface"], row["flow_direction"]), {})
            for unit in ("frames", "packets", "bytes"):
                for outcome in OUTCOMES:
                    column = f"{outcome}_{unit}"
                    told[column] = max(told.get(column, 0), row[column])
                told[unit] = sum(told[f"{outcome}_{unit}"] for outcome in OUTCOMES)
    return newest


def differences(batches: Sequence[Batch]) -> dict[Hook, Sum]:
    """By hook: totals − (records + not IP + malformed + lost), of a ring that is closed or of which nothing is held."""
    records = records_by_hook(table_of(batches))
    return {
        hook: _seen(told) - records.get(hook, NOTHING) - _apart(told) for hook, told in totals_by_hook(batches).items()
    }


def held(batches: Sequence[Batch], *, before: int) -> Sum:
    """Totals of all hooks − (records before a position + not IP + malformed + lost): what the table must hold."""
    left = NOTHING
    for told in totals_by_hook(batches).values():
        left = left + _seen(told) - _apart(told)
    for found in records_by_hook(table_of(batches, before=before)).values():
        left = left - found
    return left


def datagrams(batches: Sequence[Batch], interface: str, *, port: int) -> int:
    """UDP packets to a port at an interface, by the records."""
    records = table_of(batches)
    is_here = np.asarray(records.column("interface").to_pylist()) == interface
    is_here &= (records.column("protocol").to_numpy() == 17) & (records.column("dst_port").to_numpy() == port)
    return int(records.column("packets").to_numpy()[is_here].sum())


def _seen(told: dict[str, int]) -> Sum:
    return Sum(told["packets"], told["bytes"])


def _apart(told: dict[str, int]) -> Sum:
    """What a hook saw that is in no record: said to be so, by name."""
    outcomes = [outcome for outcome in OUTCOMES if outcome != "accounted"]
    return Sum(*(sum(told[f"{outcome}_{unit}"] for outcome in outcomes) for unit in ("packets", "bytes")))
