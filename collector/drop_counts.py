"""Drop records to packets by reason, for Prometheus: cumulative since the start. Pure."""

import numpy as np
import numpy.typing as npt

from collector.drop_names import NamedDrops


class DropCounts:
    """Packets dropped, by the kernel's reason and by whether that is ordinary life."""

    def __init__(self) -> None:
        self.packets: dict[tuple[str, bool], int] = {}

    def add(self, named: NamedDrops, packets: npt.NDArray[np.uint64]) -> None:
        """Take in a batch: its names, and how many packets each record counts."""
        pairs = named.reason_index * 2 + named.benign
        sums = np.bincount(pairs, weights=packets, minlength=2 * len(named.reasons))
        for pair in np.flatnonzero(sums).tolist():
            key = (named.reasons[pair // 2], bool(pair % 2))
            self.packets[key] = self.packets.get(key, 0) + int(sums[pair])
