"""Drop records to packets by reason, for Prometheus: cumulative since the start. Pure."""

import numpy as np
import pyarrow as pa

from collector.batches import to_values


class DropCounts:
    """Packets dropped, by the kernel's reason and by whether that is ordinary life."""

    def __init__(self) -> None:
        self.packets: dict[tuple[str, bool], int] = {}

    def add(self, columns: pa.RecordBatch) -> None:
        """Take in a batch of drop records."""
        reason = columns.column("reason")
        pairs = to_values(reason.indices) * 2 + to_values(columns.column("benign"))
        sums = np.bincount(pairs, weights=to_values(columns.column("packets")))
        for pair in np.flatnonzero(sums).tolist():
            key = (reason.dictionary[pair // 2].as_py(), bool(pair % 2))
            self.packets[key] = self.packets.get(key, 0) + int(sums[pair])
