"""Latency samples to log-linear histograms: 16 buckets per octave, so that any quantile is wrong by 3.1 % at most.

A bucket is the exponent and the four highest mantissa bits of the value as a double; `schemas/windows.py` and the SQL
function `latency_bucket_ns` say the same. Histograms of any worker, window or edge add up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa

from schemas.windows import BUCKETS_PER_OCTAVE

if TYPE_CHECKING:
    import numpy.typing as npt

_MANTISSA_BITS: Final = BUCKETS_PER_OCTAVE.bit_length() - 1
_SHIFT: Final = np.uint64(52 - _MANTISSA_BITS)
_BIAS: Final = np.uint64(1023 << _MANTISSA_BITS)
_BUCKET_BITS: Final = np.uint64(10)
"""A bucket of a 64-bit number is below 1024."""
_WEIGHT_BITS: Final = np.uint64(24)
_KEY_BITS: Final = np.uint64(64) - _WEIGHT_BITS


def to_bucket(ns: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.uint64]:
    """The bucket of each value; 0 goes with 1."""
    exact: npt.NDArray[np.float64] = np.maximum(ns, 1).astype("f8")
    return (exact.view("u8") >> _SHIFT) - _BIAS


def to_ns(bucket: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """The middle of each bucket."""
    octave, step = np.divmod(bucket.astype("i8"), BUCKETS_PER_OCTAVE)
    return np.ldexp(1 + (2 * step + 1) / (2 * BUCKETS_PER_OCTAVE), octave)


class Held(NamedTuple):
    """The samples that rows hold, one behind the other."""

    row: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    """Of the sample in its row."""
    weight: npt.NDArray[np.uint64]
    """How many measurements it stands for."""


def to_weights(count: npt.NDArray[np.unsignedinteger], width: int) -> Held:
    """Which of `width` samples each row holds, and how many measurements each of them stands for.

    Weights are whole and add up to the row's count: those first in the row take what does not divide evenly.
    """
    kept = np.minimum(count, width).astype("i8")
    row = np.repeat(np.arange(len(count)), kept)
    place = np.arange(len(row)) - np.repeat(np.cumsum(kept) - kept, kept)
    share, more = np.divmod(count.astype("u8"), np.maximum(kept, 1).astype("u8"))
    return Held(row, place, share[row] + (place < more[row]))


def histograms(
    group: npt.NDArray[np.signedinteger],
    count: npt.NDArray[np.unsignedinteger],
    *,
    samples: npt.NDArray[np.unsignedinteger],
    groups: int,
) -> pa.MapArray:
    """Each group's Map(bucket, weight), in order of group and bucket.

    `samples` is (rows, width): a row holds min(width, count) values in ns, the rest is not looked at.
    """
    held = to_weights(count, samples.shape[1])
    bucket = to_bucket(samples[held.row, held.place])
    keys, weight = _add_up((group[held.row].astype("u8") << _BUCKET_BITS) | bucket, held.weight)
    offsets = np.searchsorted(keys, np.arange(groups + 1, dtype="u8") << _BUCKET_BITS).astype("i4")
    present = (keys & ((np.uint64(1) << _BUCKET_BITS) - np.uint64(1))).astype("u2")
    return pa.MapArray.from_arrays(pa.array(offsets), pa.array(present), pa.array(weight))


def _add_up(
    keys: npt.NDArray[np.uint64], weights: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Each key once, in order, with the sum of its weights."""
    if not keys.size:
        return keys, weights
    if int(keys.max()) >> int(_KEY_BITS) or int(weights.max()) >> int(_WEIGHT_BITS):
        order = np.argsort(keys, kind="stable")
        keys, weights = keys[order], weights[order]
    else:  # sorting both in one word takes a third of the time
        packed = np.sort((keys << _WEIGHT_BITS) | weights)
        keys, weights = packed >> _WEIGHT_BITS, packed & ((np.uint64(1) << _WEIGHT_BITS) - np.uint64(1))
    starts = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
    return keys[starts], np.add.reduceat(weights, starts)
