"""Single leases to snapshots: columns that grow and change by one row at a time and are copied out as a whole.

A change costs a few microseconds whatever the number of leases; a snapshot costs one sort. Names are interned: a code
stays true until the table is compacted.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
import pyarrow as pa

from aggregator.identity.addresses import to_words
from aggregator.identity.leases import ATTRIBUTES, Columns, Lease, Leases

_START: Final = 1024

Key = tuple[bytes, str]
"""Address and uid of a lease; no address and the name of a place."""


class _Names:
    """Strings to codes, in order of appearance."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._codes: dict[str, int] = {name: code for code, name in enumerate(names)}
        self._values = pa.array([], pa.string())

    def code(self, name: str) -> int:
        return self._codes.setdefault(name, len(self._codes))

    def values(self) -> pa.StringArray:
        if len(self._values) != len(self._codes):
            self._values = pa.array(self._codes, pa.string())
        return self._values


class LeaseTable:
    """The leases of now, by key; rows are dense: a removed row is filled with the last one."""

    def __init__(self) -> None:
        self._keys: list[Key] = []
        self._rows: dict[Key, int] = {}
        self._places: list[str] = []
        self._names = {attribute: _Names() for attribute in ATTRIBUTES}
        self._words = np.zeros((_START, 2), "u8")
        self._times = np.zeros((_START, 2), "i8")
        self._kinds = np.zeros(_START, "u1")
        self._codes = np.zeros((_START, len(ATTRIBUTES)), "i4")

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, key: Key, lease: Lease) -> None:
        """Add this lease, or replace the one under the same key."""
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = len(self._keys)
            self._keys.append(key)
            if row == len(self._kinds):
                self._grow()
        self._words[row] = to_words(lease.address) if lease.address else 0
        self._times[row] = lease.valid_from, lease.valid_to
        self._kinds[row] = lease.kind
        named = zip(ATTRIBUTES, lease.names, strict=True)
        self._codes[row] = [self._names[attribute].code(name) for attribute, name in named]

    def put_place(self, name: str, lease: Lease) -> None:
        """Add the place called so, or replace it. Places stay."""
        if (b"", name) not in self._rows:
            self._places.append(name)
        self.put((b"", name), lease)

    def remove(self, key: Key) -> None:
        """Take the lease under this key out, if there is one."""
        row = self._rows.pop(key, None)
        if row is None:
            return
        last = self._keys.pop()
        if last != key:
            end = len(self._keys)
            self._keys[row] = last
            self._rows[last] = row
            for column in (self._words, self._times, self._kinds, self._codes):
                column[row] = column[end]

    def code(self, attribute: str, name: str) -> int:
        """The code of a name in every snapshot from the next one until the table is compacted."""
        return self._names[attribute].code(name)

    def compact(self) -> None:
        """Forget names that no row has."""
        count = len(self._keys)
        for place, attribute in enumerate(ATTRIBUTES):
            values = self._names[attribute].values()
            used, codes = np.unique(self._codes[:count, place], return_inverse=True)
            self._names[attribute] = _Names(values.take(pa.array(used)).to_pylist())
            self._codes[:count, place] = codes

    def snapshot(self) -> Leases:
        """The leases as they are now."""
        count = len(self._keys)
        places = np.array([self._rows[b"", name] for name in self._places], "i8")
        is_lease = np.ones(count, bool)
        is_lease[places] = False
        leases = np.flatnonzero(is_lease)
        words, times = self._words, self._times
        leases = leases[np.lexsort((times[leases, 0], words[leases, 1], words[leases, 0]))]
        order = np.concatenate([leases, places])
        return Leases(
            Columns(
                addresses=words[leases],
                valid_from=times[order, 0],
                valid_to=times[order, 1],
                kind=self._kinds[order],
                codes={attribute: self._codes[order, place] for place, attribute in enumerate(ATTRIBUTES)},
                values={attribute: self._names[attribute].values() for attribute in ATTRIBUTES},
                places={name: len(leases) + place for place, name in enumerate(self._places)},
            )
        )

    def _grow(self) -> None:
        self._words = np.concatenate([self._words, np.zeros_like(self._words)])
        self._times = np.concatenate([self._times, np.zeros_like(self._times)])
        self._kinds = np.concatenate([self._kinds, np.zeros_like(self._kinds)])
        self._codes = np.concatenate([self._codes, np.zeros_like(self._codes)])
