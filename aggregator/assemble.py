"""A decoded range to the blocks that store it: identified, folded, named.

Everything here is a function of its arguments, and works on whole columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aggregator.accounts import Place, Span, completeness_rows, log_row
from aggregator.fold import fold_drops, fold_flows
from aggregator.identity.identify import Identified, Origins, identify_drops, identify_flows
from aggregator.interface_windows import fold_totals
from aggregator.rows import drop_rows, flow_rows
from aggregator.write import Insert
from schemas import topics

if TYPE_CHECKING:
    import pyarrow as pa

    from aggregator.decode import Decoded
    from aggregator.identity.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Range:
    """A range whose ends are identified."""

    place: Place
    span: Span
    decoded: Decoded
    origins: Origins
    identified: Identified
    snapshot: Snapshot
    now_ns: int
    """When it was decoded and identified, Unix time."""

    @property
    def waiting_since_ns(self) -> int | None:
        """When the oldest record came whose address belongs to the cluster and to nobody; None when all have names."""
        links = self.decoded.link_of_record[self.identified.unresolved]
        return self.decoded.links[int(links.min())].arrived_ns if links.size else None


def identify(place: Place, span: Span, *, decoded: Decoded, snapshot: Snapshot, now_ns: int) -> Range:
    """A decoded range's records with both ends identified as of their own time."""
    origins = Origins.of(decoded.batches)
    identify_records = identify_flows if place.topic == topics.FLOWS else identify_drops
    identified = identify_records(decoded.records, origins, snapshot=snapshot)
    return Range(place, span, decoded, origins, identified, snapshot, now_ns)


def blocks(found: Range) -> list[Insert]:
    """What stores a range, in the order in which it is stored.

    `completeness` comes last, or a range half written would look like a repetition.
    """
    tables = _records(found) | {
        "ingest_log": log_row(found.place, found.span, decoded=found.decoded),
        "completeness": completeness_rows(
            found.place, found.decoded, unresolved=found.identified.unresolved, now_ns=found.now_ns
        ),
    }
    place, span = found.place, found.span
    name = f"{place.topic_id}:{place.topic}:{place.partition}:{span.first}-{span.last}"
    return [Insert(table, rows, f"{name}:{table}") for table, rows in tables.items()]


def _records(found: Range) -> dict[str, pa.Table]:
    records, identified, leases = found.decoded.records, found.identified, found.snapshot.leases
    if found.place.topic == topics.FLOWS:
        rows = flow_rows(records, identified, leases=leases, origins=found.origins, now_ns=found.now_ns)
        return {"flows": rows} | fold_flows(records, identified, leases=leases) | fold_totals(found.decoded.links)
    rows = drop_rows(records, identified, leases=leases, origins=found.origins)
    return {"drops": rows} | fold_drops(records, identified, leases=leases, origins=found.origins)
