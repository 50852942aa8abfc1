"""Claims on an address to leases of it: a pure function of what is known, whatever the order in which it came.

Each object that has, or had, an address holds a claim on it. Claims may overlap, since the API gives whole seconds and
an address is often used again before its former holder is gone from the API server; leases never do.
"""

from collections.abc import Collection, Iterable
from enum import IntEnum
from typing import NamedTuple

from aggregator.identity.leases import FOREVER, Kind, Lease, Names


class Rank(IntEnum):
    """Who has an address when several claim it at once: the lowest."""

    CLUSTER_IP = 0
    NODE = 1
    EXTERNAL_IP = 2
    POD = 3


_KINDS = {Rank.CLUSTER_IP: Kind.SERVICE, Rank.EXTERNAL_IP: Kind.SERVICE, Rank.NODE: Kind.NODE, Rank.POD: Kind.POD}


class Claim(NamedTuple):
    """An object's hold on an address. Times are Unix nanoseconds."""

    uid: str
    rank: Rank
    names: Names
    created_ns: int
    started_ns: int
    """It did not have the address before; orders the claims of now."""
    ended_ns: int | None = None
    returned_ns: int = 0
    """It had lost the address, and has it again since then."""


def to_leases(address: bytes, claims: Collection[Claim]) -> list[Lease]:
    """The leases of an address, of all claims: a claim that never prevails has an empty lease.

    A lease begins at the later of its holder's creation and the end of the lease before. One that did not end, though a
    later holder has the address, ended when that one had it.
    """
    has_node = any(claim.rank is Rank.NODE for claim in claims)
    ended = [claim for claim in claims if claim.ended_ns is not None]
    live = _prevailing([claim for claim in claims if claim.ended_ns is None])
    rows = [claim for claim in ended if not (has_node and claim.rank is Rank.EXTERNAL_IP)]
    rows.sort(key=lambda claim: (claim.ended_ns, claim.created_ns, claim.uid))
    rows += live
    leases = list(_in_turn(address, rows))
    leases += [_lease(address, claim, begin=0, end=0) for claim in claims if claim not in rows]
    return leases


def _in_turn(address: bytes, claims: list[Claim]) -> Iterable[Lease]:
    end = 0
    for place, claim in enumerate(claims):
        begin = max(claim.created_ns, claim.returned_ns, end)
        if claim.ended_ns is not None:
            end = max(begin, claim.ended_ns)
        else:
            end = max(begin, claims[place + 1].started_ns) if place + 1 < len(claims) else FOREVER
        yield _lease(address, claim, begin=begin, end=end)


def _prevailing(live: list[Claim]) -> list[Claim]:
    """Those of the claims of now that hold the address, in their order in time."""
    rank = min((claim.rank for claim in live), default=Rank.POD)
    contenders = sorted(
        (claim for claim in live if claim.rank is rank),
        key=lambda claim: (max(claim.started_ns, claim.returned_ns), claim.created_ns, claim.uid),
    )
    if rank is Rank.POD:
        return contenders
    if rank is Rank.NODE:
        # An address that several nodes carry (a container bridge's default) tells none of them.
        return contenders[-1:] if len({claim.names.node for claim in contenders}) == 1 else []
    return [min(contenders, key=lambda claim: (claim.names.namespace, claim.names.service, claim.uid))]


def _lease(address: bytes, claim: Claim, *, begin: int, end: int) -> Lease:
    return Lease(address, begin, end, _KINDS[claim.rank], claim.names, claim.uid)
