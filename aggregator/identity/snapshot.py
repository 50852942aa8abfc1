"""Leases, ranges and published ports to one snapshot: all that identification knows at a moment, immutable."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from aggregator.identity.lease_table import LeaseTable
from aggregator.identity.leases import FOREVER, Kind, Lease, Leases, Names, Rows
from aggregator.identity.published_ports import PortTable
from aggregator.identity.ranges import WORLD, Ranges
from aggregator.identity.reporter import AddressClass

UNRESOLVED: Final = "unresolved"
_PLACES: Final = {AddressClass.MULTICAST: "multicast", AddressClass.LINK_LOCAL: "link_local"}
_LABEL: Final = "label:"


def put_places(table: LeaseTable, labels: tuple[str, ...]) -> None:
    """Give names to what has no lease: an unresolved address, the outside by its labels, groups, a single link."""
    for kind in (Kind.UNRESOLVED, Kind.WORLD, Kind.MULTICAST, Kind.LINK_LOCAL):
        name = kind.name.lower()
        table.put_place(name, Lease(b"", 0, FOREVER, kind, Names(workload=name, workload_kind=_title(kind))))
    for label in labels:
        if label != WORLD:
            names = Names(workload=label, workload_kind="Label")
            table.put_place(_LABEL + label, Lease(b"", 0, FOREVER, Kind.LABEL, names))


def _title(kind: Kind) -> str:
    return "".join(word.title() for word in kind.name.split("_"))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a range of records is identified against."""

    leases: Leases
    ranges: Ranges
    ports: PortTable
    lease_classes: npt.NDArray[np.uint8]
    """The class of each lease's address; one more at the end stands for row −1."""
    region_rows: Rows
    """Of each region, the row that names an address in it without a lease."""

    @classmethod
    def of(cls, table: LeaseTable, ranges: Ranges, *, ports: PortTable) -> "Snapshot":
        """What the table holds now."""
        leases = table.snapshot()
        regions = ranges.find(leases.addresses)
        places = [WORLD if label == WORLD else _LABEL + label for label in ranges.labels]
        places += [_PLACES.get(AddressClass(each), UNRESOLVED) for each in ranges.classes[len(places) :]]
        return cls(
            leases=leases,
            ranges=ranges,
            ports=ports,
            lease_classes=np.append(ranges.classes[regions], np.uint8(AddressClass.OUTSIDE)),
            region_rows=np.array([leases.places[place] for place in places], "i4"),
        )
