"""Latencies in flow records to histograms for Prometheus: cumulative since the start, octaves wide. Pure.

A record says how many round trips it measured and holds up to sixteen that stand for them, each for an equal share of
the count, in whole numbers that add up to it: the histogram's count is exact.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from collector.batches import to_values
from collector.round_trips import to_weights
from schemas.flow_batch import SAMPLES

FIRST_OCTAVE: Final = 14
"""The first bucket holds all up to 2^14 ns (16 microseconds)."""
BUCKETS: Final = 21
"""The last but one ends at 2^33 ns (8.6 s); the last has no end."""
EDGES_SECONDS: Final = tuple(2 ** (FIRST_OCTAVE + bucket) / 1e9 for bucket in range(BUCKETS - 1))

KINDS: Final = ("handshake_syn_ack", "handshake_ack", "rtt", "reverse_rtt")
_HANDSHAKES: Final = ("handshake_syn_ack_ns", "handshake_ack_ns")
_PREFIXES: Final = ("", "reverse_")
_MANTISSA_BITS: Final = 52
_BIAS: Final = 1023

Values = npt.NDArray[np.uint32]


class Latencies:
    """Histograms and sums by kind."""

    def __init__(self) -> None:
        self.counts = np.zeros((len(KINDS), BUCKETS), np.int64)
        self.sums_ns = np.zeros(len(KINDS), np.int64)

    def add(self, columns: pa.RecordBatch) -> None:
        """Take in a batch of flow records."""
        for kind, name in enumerate(_HANDSHAKES):
            self._add_handshakes(kind, _values(columns, name))
        for kind, prefix in enumerate(_PREFIXES, start=len(_HANDSHAKES)):
            counts = _values(columns, f"{prefix}rtt_count")
            measured = np.flatnonzero(counts)
            if len(measured):
                samples = _values(columns, f"{prefix}rtt_samples").reshape(-1, SAMPLES)
                self._add_round_trips(kind, counts[measured].astype(np.int64), samples=samples[measured])
                self.sums_ns[kind] += int(_values(columns, f"{prefix}rtt_sum_ns").sum())

    def _add_handshakes(self, kind: int, nanoseconds: Values) -> None:
        seen = nanoseconds[nanoseconds > 0]
        if len(seen):
            self.counts[kind] += np.bincount(to_bucket(seen), minlength=BUCKETS)
            self.sums_ns[kind] += int(seen.sum(dtype=np.int64))

    def _add_round_trips(self, kind: int, counts: npt.NDArray[np.int64], *, samples: Values) -> None:
        places = min(int(counts.max()), SAMPLES)
        buckets = to_bucket(samples[:, :places])
        weights = to_weights(counts, places)
        found = np.bincount(buckets.T.reshape(-1), weights=weights.T.reshape(-1), minlength=BUCKETS)
        self.counts[kind] += found.astype(np.int64)


def _values(columns: pa.RecordBatch, name: str) -> Values:
    values: Values = to_values(columns.column(name))
    return values


def to_bucket(nanoseconds: Values) -> npt.NDArray[np.int64]:
    """The bucket whose upper edge is the first at or above each value: the octave is a double's exponent."""
    below = np.maximum(nanoseconds.astype(np.float64) - 1, 1)
    octaves = (below.view(np.int64) >> _MANTISSA_BITS) - (_BIAS - 1)
    return np.asarray(np.clip(octaves - FIRST_OCTAVE, 0, BUCKETS - 1), np.int64)
