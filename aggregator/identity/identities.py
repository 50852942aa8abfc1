"""Watch events, inventories and stored leases to snapshots, and back to the rows of table `identities`.

Every worker keeps one of these; only the leader stores the rows. It does no input or output of its own.
"""

from typing import Final

import numpy as np
import pyarrow as pa

from aggregator.identity.claims import Rank
from aggregator.identity.cluster import ClusterState
from aggregator.identity.lease_table import Key, LeaseTable
from aggregator.identity.leases import ATTRIBUTES, Kind, Lease, Names
from aggregator.identity.objects import Event, Resource
from aggregator.identity.ranges import Cluster, Ranges, RangeSettings
from aggregator.identity.reporter import AddressClass
from aggregator.identity.snapshot import Snapshot, put_places

_TIME: Final = pa.timestamp("ns", tz="UTC")
_STORED_KINDS: Final = {kind.name.lower(): kind for kind in (Kind.POD, Kind.SERVICE, Kind.NODE)}

SCHEMA: Final = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in (
            ("address", pa.binary(16)),
            ("valid_from", _TIME),
            ("valid_to", _TIME),
            ("kind", pa.string()),
            ("namespace", pa.string()),
            ("workload", pa.string()),
            ("workload_kind", pa.string()),
            ("pod", pa.string()),
            ("service", pa.string()),
            ("node", pa.string()),
            ("zone", pa.string()),
            ("uid", pa.string()),
            ("version", pa.uint64()),
        )
    ]
)
"""The columns of table `identities`."""


class Identities:
    """Who held which address, as far as it is known here. Times are Unix nanoseconds."""

    def __init__(self, settings: RangeSettings, *, is_watching: bool) -> None:
        """`is_watching`: there is a Kubernetes to wait for; without one, nodes are known by their collectors alone."""
        self._settings = settings
        self._is_watching = is_watching
        self._table = LeaseTable()
        self._state = ClusterState(self._table)
        self._ranges: tuple[tuple[int, int], Ranges] | None = None
        self._snapshot: tuple[tuple[int, ...], Snapshot] | None = None
        self._offered: dict[Key, tuple[Lease, int]] = {}
        put_places(self._table, Ranges(settings, Cluster()).labels)

    @property
    def ready(self) -> bool:
        """Whether the first list of each resource is complete: before, nobody can be identified."""
        return not self._is_watching or self._state.listed == set(Resource)

    def load(self, known: pa.Table) -> None:
        """Start from what was stored: the newest version of each row, columns as in `SCHEMA`, before anything else.

        Raises: KeyError or pa.ArrowException when this is not that table.
        """
        columns = known.select(SCHEMA.names).cast(SCHEMA)
        for name in ("valid_from", "valid_to"):
            columns = columns.set_column(columns.schema.get_field_index(name), name, columns[name].cast(pa.int64()))
        for row in columns.drop_columns("version").to_pylist():
            names = Names(*(row.pop(attribute) for attribute in ATTRIBUTES))
            self._state.book.load(Lease(**row | {"kind": _STORED_KINDS[row["kind"]], "names": names}))

    def apply(self, event: Event) -> None:
        """Take what the watch saw."""
        self._state.apply(event)

    def learn_inventory(self, node: str, addresses: bytes, *, observed_ns: int) -> None:
        """These are all of a node's own addresses by its collector, 16 bytes each, in the same order each time."""
        self._state.learn_inventory(node, addresses, observed_ns=observed_ns)

    def snapshot(self) -> Snapshot:
        """What is known now; the same object while nothing has changed."""
        book, ports = self._state.book, self._state.ports
        ranges = self._current_ranges()
        revisions = (book.revision, ports.revision)
        if self._snapshot is None or self._snapshot[0] != revisions or self._snapshot[1].ranges is not ranges:
            table = ports.table(lambda node: self._table.code("node", node))
            self._snapshot = revisions, Snapshot.of(self._table, ranges, ports=table)
        return self._snapshot[1]

    def changed_rows(self) -> pa.RecordBatch:
        """The rows of leases that changed since they were last confirmed to be stored; a higher version replaces."""
        self._offered = dict(self._state.book.changed)
        rows = [
            lease._asdict() | lease.names._asdict() | {"kind": lease.kind.name.lower(), "version": version}
            for lease, version in self._offered.values()
        ]
        return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)

    def confirm_rows(self) -> None:
        """The rows of the last `changed_rows` are stored."""
        changed = self._state.book.changed
        for key, row in self._offered.items():
            if changed.get(key) == row:
                del changed[key]
        self._offered = {}

    def prune(self, before_ns: int) -> None:
        """Forget what ended before this time: no record will be identified as of then any more."""
        self._state.prune(before_ns)

    def pods_outside_ranges(self) -> int:
        """How many pod leases have an address that no known pod range holds.

        Their conversations may count twice or never: the pod ranges are not in the Node objects and belong into
        KNI_POD_CIDRS.
        """
        snapshot = self.snapshot()
        kinds = snapshot.leases.kind[: len(snapshot.leases)]
        return int(np.sum((kinds == Kind.POD) & (snapshot.lease_classes[:-1] == AddressClass.OUTSIDE)))

    def _current_ranges(self) -> Ranges:
        revisions = (self._state.book.fixed_revision, self._state.range_revision)
        if self._ranges is None or self._ranges[0] != revisions:
            book = self._state.book
            cluster = Cluster(
                pod_ranges=frozenset(self._state.pod_ranges),
                cluster_ips=book.addresses(Rank.CLUSTER_IP),
                external_ips=book.addresses(Rank.EXTERNAL_IP),
                node_addresses=book.addresses(Rank.NODE),
            )
            self._ranges = revisions, Ranges(self._settings, cluster)
        return self._ranges[1]
