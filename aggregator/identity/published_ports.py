"""NodePorts and hostPorts to one question: does this port of this node lead to a pod?

A port that was published is remembered until it is pruned: flows of before still have to be told.
"""

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from aggregator.identity.objects import Port

EVERY_NODE: Final = ""
_PORT_BITS: Final = 24


class PortTable:
    """The published ports of one moment, immutable; a node is its code, every node is −1."""

    def __init__(self, keys: Iterable[tuple[int, Port]]) -> None:
        packed = {node << _PORT_BITS | port.protocol << 16 | port.number for node, port in keys}
        self._keys = np.array(sorted(packed), "i8")

    def find(
        self, nodes: npt.NDArray[np.int32], protocols: npt.NDArray[np.uint8], *, ports: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.bool_]:
        """Whether each of these ports is published, on its node or on every node."""
        port_keys = protocols.astype("i8") << 16 | ports
        here = np.isin(nodes.astype("i8") << _PORT_BITS | port_keys, self._keys)
        return here | np.isin((-1 << _PORT_BITS) | port_keys, self._keys)


class PublishedPorts:
    """The published ports, with when each was last seen to be."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, Port], int] = {}
        self.revision = 0
        """Grows whenever `table` would differ."""

    def put(self, node: str, ports: Iterable[Port], *, observed_ns: int) -> None:
        """These ports are published now, on this node or on `EVERY_NODE`."""
        for port in ports:
            self.revision += (node, port) not in self._seen
            self._seen[node, port] = observed_ns

    def prune(self, before_ns: int) -> None:
        """Forget ports that were last seen before this time."""
        kept = {key: seen for key, seen in self._seen.items() if seen >= before_ns}
        self.revision += len(kept) != len(self._seen)
        self._seen = kept

    def table(self, code: Callable[[str], int]) -> PortTable:
        """The ports as they are now; `code` gives a node's code."""
        return PortTable((-1 if node == EVERY_NODE else code(node), port) for node, port in self._seen)
