"""Address and time to who held it then: an immutable table of leases, looked up for whole columns.

A lease says that an address belonged to a pod, a service or a node from `valid_from` (included) to `valid_to`
(excluded), in Unix nanoseconds. Leases of one address never overlap. Behind the leases stand *places*: rows without an
address for what needs a name but no lease (the world, a labelled range, a node by its name, an unresolved address), so
that the names of any end of any flow are one `take`.
"""

from collections.abc import Mapping
from enum import IntEnum
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aggregator.identity.addresses import AddressIndex, Words

FOREVER: Final = 9_214_646_400 * 10**9
"""`valid_to` while a lease lasts: 2262-01-01, a time that ClickHouse's DateTime64(9) still holds."""

Rows = npt.NDArray[np.int32]
Times = npt.NDArray[np.int64]


class Kind(IntEnum):
    """What a row is, and thereby how an end of a flow got its name."""

    UNRESOLVED = 0
    POD = 1
    SERVICE = 2
    NODE = 3
    LABEL = 4
    WORLD = 5
    MULTICAST = 6
    LINK_LOCAL = 7


class Names(NamedTuple):
    """What a lease says of its holder."""

    namespace: str = ""
    workload: str = ""
    workload_kind: str = ""
    pod: str = ""
    service: str = ""
    node: str = ""
    zone: str = ""


ATTRIBUTES: Final = Names._fields


class Lease(NamedTuple):
    """One row: a lease, or a place where `address` is empty."""

    address: bytes
    valid_from: int
    valid_to: int
    kind: Kind
    names: Names = Names()
    uid: str = ""


class Columns(NamedTuple):
    """Leases as columns, one element a row: first the leases by (address, valid_from), then the places."""

    addresses: Words
    """Of the leases only."""
    valid_from: Times
    valid_to: Times
    kind: npt.NDArray[np.uint8]
    codes: Mapping[str, Rows]
    values: Mapping[str, pa.StringArray]
    places: Mapping[str, int]


class Grouping(NamedTuple):
    """Rows that have some attributes in common are one group."""

    codes: Rows
    """The group of each row."""
    rows: Rows
    """One row of each group."""


class Leases:
    """Who held which address when. Row numbers mean nothing in another snapshot."""

    def __init__(self, columns: Columns) -> None:
        self.kind = columns.kind
        self.codes = columns.codes
        self.values = columns.values
        self.places = columns.places
        self.addresses = addresses = columns.addresses
        count = len(addresses)
        follows = np.zeros(count + 1, bool)
        follows[1:count] = (addresses[1:] == addresses[:-1]).all(axis=1)
        # The last element stands for row −1, no lease: it began before all times and ended with its beginning.
        nowhere = np.iinfo("i8").min
        self._begins = np.append(columns.valid_from[:count], nowhere)
        self._ends = np.append(columns.valid_to[:count], nowhere)
        self._before = np.where(follows, np.arange(count + 1, dtype="i4") - 1, -1).astype("i4")
        newest = np.flatnonzero(~follows[1:]).astype("i4")
        self._index = AddressIndex(addresses[newest])
        self._newest = np.append(newest, np.int32(-1))
        self._groupings: dict[tuple[str, ...], Grouping] = {}

    def __len__(self) -> int:
        return len(self._begins) - 1

    def find(self, addresses: Words, at: Times) -> Rows:
        """The row of the lease that each address was under at that time, −1 where there was none."""
        rows = self._newest[self._index.find(addresses)]
        early = np.flatnonzero(at < self._begins[rows])
        while early.size:
            rows[early] = self._before[rows[early]]
            early = early[at[early] < self._begins[rows[early]]]
        rows[at >= self._ends[rows]] = -1
        return rows

    def names(self, attribute: str, rows: Rows) -> pa.DictionaryArray:
        """An attribute of these rows; the dictionary holds what occurs in them and nothing else."""
        codes, values = self.codes[attribute][rows], self.values[attribute]
        is_used = np.zeros(len(values), bool)
        is_used[codes] = True
        places = np.cumsum(is_used, dtype="i4") - np.int32(1)
        return pa.DictionaryArray.from_arrays(places[codes], values.filter(pa.array(is_used)))

    def group(self, attributes: tuple[str, ...]) -> Grouping:
        """The groups of all rows by these attributes."""
        if attributes not in self._groupings:
            packed = np.zeros(len(self.kind), "i8")
            for attribute in attributes:
                packed = packed * len(self.values[attribute]) + self.codes[attribute]
                packed = np.unique(packed, return_inverse=True)[1].astype("i8")
            _, rows, codes = np.unique(packed, return_index=True, return_inverse=True)
            self._groupings[attributes] = Grouping(codes.astype("i4"), rows.astype("i4"))
        return self._groupings[attributes]

    @cached_property
    def unresolved(self) -> int:
        """The row of an address inside the cluster without a lease."""
        return self.places["unresolved"]
