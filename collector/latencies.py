"""Latencies in flow records to histograms for Prometheus: cumulative since the start, octaves wide. Pure.

A record says how many round trips it measured and holds up to eight of them. Each sample then stands for an equal share
of the count, in whole numbers that add up to it: the histogram's count is exact, its shape as good as the reservoir.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from collector.batches import SAMPLE_NS
from schemas.flow_batch import SAMPLES

FIRST_OCTAVE: Final = 14
"""The first bucket holds all up to 2^14 ns (16 microseconds)."""
BUCKETS: Final = 21
"""The last but one ends at 2^33 ns (8.6 s); the last has no end."""
EDGES_SECONDS: Final = tuple(2 ** (FIRST_OCTAVE + bucket) / 1e9 for bucket in range(BUCKETS - 1))

KINDS: Final = ("handshake_syn_ack", "handshake_ack", "rtt", "reverse_rtt")
_PLACES: Final = np.arange(SAMPLES, dtype=np.uint32)
_MANTISSA_BITS: Final = 52
_BIAS: Final = 1023

Records = npt.NDArray[np.void]


class Latencies:
    """Histograms and sums by kind."""

    def __init__(self) -> None:
        self.counts = np.zeros((len(KINDS), BUCKETS), np.int64)
        self.sums_ns = np.zeros(len(KINDS), np.int64)

    def add(self, records: Records) -> None:
        """Take in a batch of struct kni_flow_record."""
        for side in range(2):
            self._add_handshakes(side, records["handshake_ns"][:, side])
            measured = records["rtt_count"][:, side] > 0
            if measured.any():
                self._add_round_trips(2 + side, records[measured], side=side)

    def _add_handshakes(self, kind: int, nanoseconds: npt.NDArray[np.uint32]) -> None:
        seen = nanoseconds[nanoseconds > 0]
        if len(seen):
            self.counts[kind] += np.bincount(to_bucket(seen), minlength=BUCKETS)
            self.sums_ns[kind] += int(seen.sum(dtype=np.int64))

    def _add_round_trips(self, kind: int, records: Records, *, side: int) -> None:
        counts = records["rtt_count"][:, side].astype(np.int64)
        buckets = to_bucket(SAMPLE_NS[records["rtt_samples"][:, side]])
        weights = to_weights(counts)
        found = np.bincount(buckets.reshape(-1), weights=weights.reshape(-1), minlength=BUCKETS)
        self.counts[kind] += found.astype(np.int64)
        self.sums_ns[kind] += int(records["rtt_sum_ns"][:, side].sum())


def to_bucket(nanoseconds: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """The bucket whose upper edge is the first at or above each value: the octave is a double's exponent."""
    below = np.maximum(nanoseconds.astype(np.float64) - 1, 1)
    octaves = (below.view(np.int64) >> _MANTISSA_BITS) - (_BIAS - 1)
    return np.asarray(np.clip(octaves - FIRST_OCTAVE, 0, BUCKETS - 1), np.int64)


def to_weights(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How much each of a record's eight samples stands for: whole numbers that add up to its count."""
    held = np.minimum(counts, SAMPLES)
    share, rest = counts // held, counts % held
    return np.where(held[:, np.newaxis] > _PLACES, share[:, np.newaxis] + (rest[:, np.newaxis] > _PLACES), 0)
