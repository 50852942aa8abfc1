"""Claims as they come and go to leases in the table, and to the rows of `identities` that changed.

Only the addresses that a change touches are worked out again.
"""

from collections.abc import Callable, Collection, Iterable

from aggregator.identity.claims import Claim, Rank, to_leases
from aggregator.identity.lease_table import Key, LeaseTable
from aggregator.identity.leases import FOREVER, Kind, Lease, Names

_LOADED_RANKS = {Kind.POD: Rank.POD, Kind.NODE: Rank.NODE, Kind.SERVICE: Rank.EXTERNAL_IP}


class AddressBook:
    """Every claim on every address, with what has ended, until it is pruned."""

    def __init__(self, table: LeaseTable) -> None:
        self._table = table
        self._claims: dict[bytes, dict[str, Claim]] = {}
        self._addresses: dict[str, set[bytes]] = {}
        self._leases: dict[Key, Lease] = {}
        self._version = 0
        self.changed: dict[Key, tuple[Lease, int]] = {}
        """Leases that differ from what was stored of them, with a version that grows with each change."""
        self.revision = 0
        """Grows whenever a lease changes."""
        self.fixed_revision = 0
        """Grows whenever the addresses of services and nodes change."""

    def load(self, lease: Lease) -> None:
        """Take over a lease as it was stored. Its object, once seen, says the rest."""
        if lease.valid_to <= lease.valid_from:
            return
        ended = None if lease.valid_to >= FOREVER else lease.valid_to
        claim = Claim(
            uid=lease.uid,
            rank=_LOADED_RANKS[lease.kind],
            names=lease.names,
            created_ns=lease.valid_from,
            started_ns=lease.valid_from,
            ended_ns=ended,
        )
        self._set(lease.address, claim)
        self._leases[lease.address, lease.uid] = lease
        self._table.put((lease.address, lease.uid), lease)

    def names(self, address: bytes, uid: str) -> Names:
        """What this claim says of its holder; nothing where there is no such claim."""
        claim = self._claims.get(address, {}).get(uid)
        return claim.names if claim else Names()

    def put(self, address: bytes, claim: Claim, *, observed_ns: int) -> None:
        """State a claim as it is now; repeating it changes nothing. An end never moves to later."""
        known = self._claims.get(address, {}).get(claim.uid)
        if known is not None:
            claim = _merge(known, claim, observed_ns=observed_ns)
        if claim != known:
            self._set(address, claim)
            self._refresh(address, observed_ns)

    def end(
        self, uid: str, *, at_ns: int, observed_ns: int, keep: Collection[bytes] = (), is_overdue: bool = False
    ) -> None:
        """End what this object holds, but for some addresses; what has ended before stays as it is.

        An end that is overdue was missed: where somebody else was given the address since, it was then at the latest.
        """
        for address in sorted(self._addresses.get(uid, set()).difference(keep)):
            claim = self._claims[address][uid]
            if claim.ended_ns is not None:
                continue
            starts = (each.started_ns for each in self._claims[address].values() if is_overdue)
            end = min([at_ns, *(start for start in starts if start > claim.started_ns)])
            self._set(address, claim._replace(ended_ns=max(end, claim.created_ns)))
            self._refresh(address, observed_ns)

    def uids(self, is_meant: Callable[[Claim], bool]) -> set[str]:
        """Whose claims have not ended and are meant."""
        return {claim.uid for claim in self.claims() if claim.ended_ns is None and is_meant(claim)}

    def claims(self) -> Iterable[Claim]:
        """Every claim there is."""
        return (claim for held in self._claims.values() for claim in held.values())

    def addresses(self, rank: Rank) -> frozenset[bytes]:
        """The addresses with a claim of this rank, ended ones too: what an address is does not depend on the moment."""
        return frozenset(
            address for address, held in self._claims.items() if any(claim.rank is rank for claim in held.values())
        )

    def prune(self, before_ns: int) -> None:
        """Forget what ended before this time."""
        for address, held in list(self._claims.items()):
            old = [claim.uid for claim in held.values() if claim.ended_ns is not None and claim.ended_ns < before_ns]
            for uid in old:
                self._forget(address, uid)

    def _forget(self, address: bytes, uid: str) -> None:
        claim = self._claims[address].pop(uid)
        if not self._claims[address]:
            del self._claims[address]
        self._addresses[uid].discard(address)
        if not self._addresses[uid]:
            del self._addresses[uid]
        self._leases.pop((address, uid), None)
        self.changed.pop((address, uid), None)
        self._table.remove((address, uid))
        self.revision += 1
        self.fixed_revision += claim.rank is not Rank.POD

    def _set(self, address: bytes, claim: Claim) -> None:
        known = self._claims.setdefault(address, {}).get(claim.uid)
        self._claims[address][claim.uid] = claim
        self._addresses.setdefault(claim.uid, set()).add(address)
        if known is None or known.rank is not claim.rank:
            self.fixed_revision += claim.rank is not Rank.POD

    def _refresh(self, address: bytes, observed_ns: int) -> None:
        for lease in to_leases(address, self._claims[address].values()):
            key = (address, lease.uid)
            if self._leases.get(key) == lease:
                continue
            if lease.valid_from < lease.valid_to:
                self._table.put(key, lease)
            else:
                self._table.remove(key)
            self._leases[key] = lease
            self._version = max(self._version + 1, observed_ns)
            self.changed[key] = (lease, self._version)
            self.revision += 1


def _merge(known: Claim, claim: Claim, *, observed_ns: int) -> Claim:
    if known.ended_ns is not None and claim.ended_ns is not None:
        claim = claim._replace(ended_ns=min(known.ended_ns, claim.ended_ns))
    elif known.ended_ns is not None:
        return claim._replace(returned_ns=observed_ns)
    return claim._replace(returned_ns=known.returned_ns)
