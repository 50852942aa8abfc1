"""A task to what it needs while it runs: who it is, when to stop, how long to pause, where to count."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.programs.ledger import Conversation, Ledger

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

POLL_SECONDS = 0.2
ANSWER_SECONDS = 1.0


@dataclass(frozen=True)
class Work:
    """The surroundings of one task."""

    me: str
    ledger: Ledger
    randomness: random.Random
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def is_over(self) -> bool:
        """Whether it is time to finish."""
        return self.stopping.is_set()

    def pause(self, seconds: float) -> bool:
        """Wait for half to one and a half times `seconds`; whether it is time to go on (and not to finish)."""
        return not self.stopping.wait(seconds * self.randomness.uniform(0.5, 1.5))

    def client(self, protocol: str, address: tuple[str, int], *, peer: str = "") -> Conversation:
        """The conversation with whom this task dials at `address`."""
        return Conversation("client", self.me, peer, protocol, address[0], address[1])

    def server(self, protocol: str, address: str, *, port: int, peer: str = "") -> Conversation:
        """The conversation with a client that came from `address` to this task's own port."""
        return Conversation("server", self.me, peer, protocol, address, port)

    def spawn(self, run: Callable[[], None]) -> threading.Thread:
        """Run something beside this task."""
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread
