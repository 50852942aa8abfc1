"""Flow records to who spoke with whom: both ends as of the record's time, who reports it, and whether it counts.

A range of records is identified once, whole, against one snapshot. Everything is a look-up of whole columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aggregator.identity.addresses import AddressIndex, Words, to_words
from aggregator.identity.cluster import node_place
from aggregator.identity.leases import Kind, Leases, Rows, Times
from aggregator.identity.reporter import AddressClass, Codes, Reporter, Sightings, report
from aggregator.identity.snapshot import Snapshot
from schemas.batch import Batch

MASQUERADED: Final = len(Kind)
ATTRIBUTIONS: Final = pa.array([*(kind.name.lower() for kind in Kind), "masqueraded"])
"""How an end got its name, by code: what its row is, or the node's name for somebody it masqueraded."""

Flags = npt.NDArray[np.bool_]


class Origins(NamedTuple):
    """Which node each record comes from, and which addresses are that node's own by the batch that brought it."""

    nodes: pa.StringArray
    codes: Rows
    """The node of each record."""
    batches: Rows
    """The set of own addresses that holds for each record."""
    own: tuple[bytes, ...]
    """These sets, 16 bytes an address."""

    @classmethod
    def of(cls, batches: Sequence[Batch]) -> "Origins":
        """Of the records of these batches, one behind the other."""
        nodes: dict[str, int] = {}
        own: dict[bytes, int] = {}
        counts = [batch.records.num_rows for batch in batches]
        node = [nodes.setdefault(batch.header.node, len(nodes)) for batch in batches]
        addresses = [own.setdefault(batch.header.node_addresses, len(own)) for batch in batches]
        return cls(
            nodes=pa.array(nodes, pa.string()),
            codes=np.repeat(np.array(node, "i4"), counts),
            batches=np.repeat(np.array(addresses, "i4"), counts),
            own=tuple(own),
        )


@dataclass(frozen=True, slots=True)
class Identified:
    """One element a record. `src` and `dst` are rows of the snapshot's leases, never negative."""

    src: Rows
    dst: Rows
    src_attribution: Codes
    dst_attribution: Codes
    reporter: Codes
    """By `reporter.REPORTERS`."""
    authoritative: Codes
    unresolved: Flags
    """An end has an address of the cluster's without a lease: it may become known yet."""


class _Ends(NamedTuple):
    """One end of each record."""

    rows: Rows
    classes: Codes


def identify_flows(records: pa.RecordBatch, origins: Origins, *, snapshot: Snapshot) -> Identified:
    """Who the client and the server of each flow record were at its end, who reports it, and whether it counts."""
    src, dst = _find_ends(records, origins, snapshot=snapshot)
    seen = Sightings(
        interface_kind=_column(records, "interface_kind"),
        flow_direction=_column(records, "flow_direction"),
        local_socket=_column(records, "local_socket"),
        is_published=_published(records, dst, snapshot=snapshot),
        src=src.classes,
        dst=dst.classes,
    )
    reporter, authoritative = report(seen)
    identified = _identified(src, dst, leases=snapshot.leases)
    # What leaves with the node's address, but without a socket of the node, was sent by somebody behind it.
    is_forwarded = (seen.flow_direction == 1) & (seen.local_socket == 0) & (seen.dst != AddressClass.MULTICAST)
    identified.src_attribution[is_forwarded & (seen.src == AddressClass.OWN)] = MASQUERADED
    return replace(identified, reporter=reporter, authoritative=authoritative)


def identify_drops(records: pa.RecordBatch, origins: Origins, *, snapshot: Snapshot) -> Identified:
    """Who sent each dropped packet, and to whom; a drop has no reporter's side (transit) and no authority."""
    src, dst = _find_ends(records, origins, snapshot=snapshot)
    return _identified(src, dst, leases=snapshot.leases)


def _identified(src: _Ends, dst: _Ends, *, leases: Leases) -> Identified:
    return Identified(
        src=src.rows,
        dst=dst.rows,
        src_attribution=leases.kind[src.rows],
        dst_attribution=leases.kind[dst.rows],
        reporter=np.full(len(src.rows), Reporter.TRANSIT, "u1"),
        authoritative=np.zeros(len(src.rows), "u1"),
        unresolved=(src.rows == leases.unresolved) | (dst.rows == leases.unresolved),
    )


def _find_ends(records: pa.RecordBatch, origins: Origins, *, snapshot: Snapshot) -> tuple[_Ends, _Ends]:
    start, end = (_column(records, name).view("i8") for name in ("time_start", "time_end"))
    own = _OwnAddresses(origins, snapshot.leases)
    src, dst = (to_words(records.column(name)) for name in ("src_addr", "dst_addr"))
    found = [own.over(each, _find(each, start, end=end, snapshot=snapshot)) for each in (src, dst)]
    return found[0], found[1]


def _find(addresses: Words, start: Times, *, end: Times, snapshot: Snapshot) -> _Ends:
    """By lease as of the end; a holder that was gone by then, and that nobody followed, as of the start."""
    leases, ranges = snapshot.leases, snapshot.ranges
    rows = leases.find(addresses, end)
    classes = snapshot.lease_classes[rows]
    missing = np.flatnonzero(rows < 0)
    regions = ranges.find(addresses[missing])
    classes[missing] = ranges.classes[regions]
    rows[missing] = snapshot.region_rows[regions]
    missing = missing[rows[missing] == leases.unresolved]
    earlier = leases.find(addresses[missing], start[missing])
    rows[missing] = np.where(earlier < 0, rows[missing], earlier)
    return _Ends(rows, classes)


class _OwnAddresses:
    """Which of the addresses in a record are its own node's."""

    def __init__(self, origins: Origins, leases: Leases) -> None:
        sets = [np.unique(np.frombuffer(own, "V16")) for own in origins.own]
        addresses, numbers = np.unique(np.concatenate([np.empty(0, "V16"), *sets]), return_inverse=True)
        owners = np.repeat(np.arange(len(sets)), [len(own) for own in sets])
        self._count = len(addresses)
        self._pairs = np.sort(owners * self._count + numbers)
        self._index = AddressIndex(to_words(addresses.tobytes()))
        self._origins = origins
        self._rows = np.array(
            [leases.places.get(node_place(name), leases.unresolved) for name in origins.nodes.to_pylist()], "i4"
        )

    def over(self, addresses: Words, ends: _Ends) -> _Ends:
        """These ends, with the node itself where an address is its own and no ClusterIP."""
        places = self._index.find(addresses)
        held = np.flatnonzero((places >= 0) & (ends.classes != AddressClass.SERVICE))
        pairs = self._origins.batches[held].astype("i8") * self._count + places[held]
        held = held[np.isin(pairs, self._pairs)]
        ends.classes[held] = AddressClass.OWN
        ends.rows[held] = self._rows[self._origins.codes[held]]
        return ends


def _published(records: pa.RecordBatch, dst: _Ends, *, snapshot: Snapshot) -> Codes:
    """1 where the server's port is a NodePort or hostPort of its node."""
    published = np.zeros(len(dst.rows), "u1")
    held = np.flatnonzero((dst.classes == AddressClass.OWN) | (dst.classes == AddressClass.NODE))
    nodes = snapshot.leases.codes["node"][dst.rows[held]]
    protocols, ports = (_column(records, name)[held] for name in ("protocol", "dst_port"))
    published[held] = snapshot.ports.find(nodes, protocols, ports=ports)
    return published


def _column(records: pa.RecordBatch, name: str) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = records.column(name).to_numpy(zero_copy_only=False)
    return values
