"""The kernel's table to what must leave it: conversations that went quiet, gave up, or can be forgotten.

What to do with a place is decided here, by the policy below; doing it is the sweep program's work (bpf/flow_sweep.c),
one place a run, many runs a system call. The program does nothing where a packet came in between. All state is in the
table: a sweeper may be killed anywhere, the next one goes on. One at a time.

Places are taken back as in RCU: *retired*, so that no packet finds them; after a grace period *harvested*, with what
late packets added, and free.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from collector.bpf_syscall import map_memory, membarrier_global, test_run
from collector.records import FLOW_RECORD, JOB, SWEEP, Command, Mark, Phase
from collector.ring import RingEnd
from collector.table import TICK_BITS, Chosen, Entries, Table

_CLOCK_SLACK_NS: Final = 30_000_000
"""The clock of packets is behind by up to two jiffies, of 10 ms at most."""
_NOT_IP: Final = bytes(12) + b"\x88\xb5" + bytes(50)
"""A test-run wants a frame; each fires kfree_skb for it, so it is of an experimental ethertype (IEEE 802)."""
_COUNTERS: Final = ("exported", "refused", "unanswered", "retired", "freed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How long without a packet until something happens to a conversation."""

    quiet_ns: int = 500_000_000
    """exported"""
    no_answer_ns: int = 3_000_000_000
    """its SYN counts as unanswered"""
    half_open_ns: int = 10_000_000_000
    """forgotten, as are the following"""
    ended_ns: int = 2_000_000_000
    tcp_ns: int = 300_000_000_000
    other_ns: int = 30_000_000_000


class Scan(NamedTuple):
    """What one look at the table saw, and the ring afterwards."""

    conversations: int
    held_packets: int
    """Accounted, not in the ring yet; when the table was read."""
    held_bytes: int
    exported_until_ns: int
    """Monotonic. What was accounted before it is in records before `position`."""
    position: int

    @classmethod
    def nothing(cls) -> "Scan":
        """Before the first."""
        return cls(0, 0, 0, 0, 0)


class Plan(NamedTuple):
    """What one look at the table saw, and what is to be done with which of it."""

    now_ns: int
    entries: Entries
    chosen: Mapping[Command, npt.NDArray[np.bool_]]


class Descriptors(Protocol):
    """Names of pinned maps and programs to file descriptors."""

    def __getitem__(self, name: str, /) -> int:
        """The descriptor."""


class Sweeper:
    """The table, and the program that works on it."""

    def __init__(self, pins: Descriptors, policy: Policy = Policy()) -> None:
        """Maps table, cold, jobs, sweeps and flows_ring; they may be closed, but for the program sweep."""
        self._policy = policy
        self._program = pins["sweep"]
        self._table = Table(pins["table"], pins["cold"])
        places = self._table.places
        self._jobs = np.frombuffer(map_memory(pins["jobs"], places * JOB.itemsize), JOB, places)
        self._sweep = np.frombuffer(map_memory(pins["sweeps"], SWEEP.itemsize), SWEEP, 1)
        self._ring = RingEnd(pins["flows_ring"], FLOW_RECORD)

    def tick(self, now_ns: int) -> Scan:
        """Export, give up, retire and harvest what is due; asleep for two grace periods (8 to 24 ms each).

        The first makes sure that every packet from before `now_ns` is in the table; the second, that what left the
        table is in the ring. A full ring leaves everything where it is, for the next tick.
        """
        membarrier_global()
        plan = self.choose(now_ns)
        self.carry_out(plan)
        membarrier_global()
        return self._scan(plan.entries, now_ns)

    def choose(self, now_ns: int) -> "Plan":
        """Look at the table once, and say what is due."""
        entries = self._table.look(now_ns)
        return Plan(now_ns, entries, due(entries, self._policy))

    def carry_out(self, plan: "Plan") -> None:
        """Have it done, as far as it still holds and the ring has room."""
        for command, chosen in plan.chosen.items():
            self._run(command, plan.entries.take(chosen), now_ns=plan.now_ns)

    def flush(self, now_ns: int) -> Scan:
        """Export everything, for a collector that stops, once nothing is attached any more.

        Call again while `conversations` is not 0: the ring was full. What is exported is also forgotten.
        """
        membarrier_global()
        for command in (Command.FLUSH, Command.RETIRE):
            entries = self._table.look(now_ns)
            self._run(command, entries.take(~entries.is_gone), now_ns=now_ns)
        membarrier_global()
        entries = self._table.look(now_ns)
        self._run(Command.HARVEST, entries.take(entries.is_gone), now_ns=now_ns)
        return self._scan(self._table.look(now_ns), now_ns)

    def counters(self) -> Mapping[str, int]:
        """What the sweep program did since it was loaded."""
        return {name: int(self._sweep[name][0]) for name in _COUNTERS}

    def _scan(self, entries: Entries, now_ns: int) -> Scan:
        return Scan(
            conversations=len(entries.slots),
            held_packets=int(entries.packets.sum()),
            held_bytes=int(entries.bytes.sum()),
            exported_until_ns=(now_ns >> TICK_BITS << TICK_BITS) - max(entries.oldest_age_ns, _CLOCK_SLACK_NS),
            position=self._ring.producer,
        )

    def _run(self, command: Command, chosen: Chosen, *, now_ns: int) -> None:
        if not len(chosen.places):
            return
        jobs = self._jobs[: len(chosen.places)]
        jobs["place"], jobs["last"], jobs["command"] = chosen.places, chosen.last, command
        self._sweep["now_ns"], self._sweep["next"] = now_ns, 0
        with suppress(InterruptedError):  # a signal, between two places: the others are due at the next tick
            test_run(self._program, _NOT_IP, repeat=len(jobs))


def due(entries: Entries, policy: Policy) -> dict[Command, npt.NDArray[np.bool_]]:
    """What is to be done with which entries; with each at most one thing."""
    state, age_ns = entries.hot["state"], entries.age_ns
    is_live = ~entries.is_gone & ((state["marks"] & Mark.READY) != 0)
    has_growth = (entries.hot["count"] != 0).any(axis=1) | ((state["marks"] & Mark.PENDING) != 0)
    gives_up = is_live & (state["phase"] == Phase.SYN_SENT) & (age_ns >= policy.no_answer_ns)
    exports = is_live & ~gives_up & has_growth & (age_ns >= policy.quiet_ns)
    retires = is_live & ~gives_up & ~has_growth & (age_ns >= _lifetimes_ns(policy)[state["phase"]])
    return {
        Command.HARVEST: entries.is_gone,
        Command.GIVE_UP: gives_up,
        Command.EXPORT: exports,
        Command.RETIRE: retires,
    }


def _lifetimes_ns(policy: Policy) -> npt.NDArray[np.int64]:
    """By phase."""
    lifetimes = np.full(len(Phase), policy.tcp_ns)
    lifetimes[Phase.NOT_TCP] = policy.other_ns
    lifetimes[Phase.ENDED] = policy.ended_ns
    lifetimes[[Phase.SYN_SENT, Phase.UNANSWERED, Phase.SYN_RECEIVED]] = policy.half_open_ns
    return lifetimes
