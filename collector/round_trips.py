"""A record's samples and lanes to sixteen round trips that stand for all that it measured. Pure.

Up to sixteen a record holds each one. Of more, the kernel keeps sixteen at random and counts all in sixteen lanes of a
histogram (bpf/round_trips.h). The lanes say how many were about so long, the samples where within a lane they were. Of
k samples in a lane of c the r-th is expected to be the r (c + 1) / (k + 1)-th of them, and the c - k that were not kept
to lie evenly between the samples and up to the lane's edges; so where all were kept, none lies in a gap between two
modes. What stands for all are sixteen quantiles, each in the middle of those measurements that it stands for.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from collector.records import LANES, SAMPLES

Records = npt.NDArray[np.void]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_OCTAVE_BITS: Final = 10
_OCTAVE: Final = 1 << _OCTAVE_BITS
_CODE_BITS: Final = 11
_CODE_MASK: Final = (1 << _CODE_BITS) - 1
_ORDER: Final = np.arange(LANES)
_POSITIONS: Final = np.array([4, 11, 1, 14, 6, 9, 3, 12, 0, 15, 7, 8, 2, 13, 5, 10])
"""Low and high ones by turns: of a count that sixteen does not divide, the first ones stand for one more each."""
_PLACES: Final = np.argsort(_POSITIONS)
_LEFT: Final = ((0, 0), (1, 0))
_RIGHT: Final = ((0, 0), (0, 1))


def to_quantiles(records: Records, place: int) -> npt.NDArray[np.uint32]:
    """Sixteen round trips in ns of each record; `place` is the direction, each record has more than sixteen."""
    least, most = _to_step(records["rtt_min_ns"][:, place])[:, None], _to_step(records["rtt_max_ns"][:, place])[:, None]
    shift = records["rtt_shift"][:, place, None].astype(np.int64)
    first = least >> shift
    counts = _unrolled(records["rtt_lanes"][:, place], first)
    below = np.concatenate([np.zeros_like(first), np.cumsum(counts, axis=1)], axis=1)
    edges = np.clip((first + np.arange(LANES + 1)) << shift, least, most)
    samples = np.sort(_step_of_code(records["rtt_samples"][:, place].astype(np.int64)), axis=1)
    lane = np.clip((samples >> shift) - first, 0, LANES - 1)
    begins, ends = _masses(counts, below, lane=lane)
    wanted = below[:, -1:] * _shares(records["rtt_count"][:, place].astype(np.int64))
    steps, masses = np.concatenate([edges, samples, samples], axis=1), np.concatenate([below, begins, ends], axis=1)
    found = _to_nanoseconds(_interpolate(np.sort(steps, axis=1), np.sort(masses, axis=1), wanted=wanted))
    limits = records["rtt_min_ns"][:, place, None], records["rtt_max_ns"][:, place, None]
    return np.clip(found, *limits).astype(np.uint32)


def to_weights(counts: npt.NDArray[np.int64], places: int) -> npt.NDArray[np.int64]:
    """How much each of a record's first samples stands for: whole numbers that add up to its count.

    No record has more than `places` samples.
    """
    held = np.minimum(counts, places)
    share, rest = np.divmod(counts, held)
    order = np.arange(places)[:, np.newaxis]  # records side by side: numpy is slow at many short rows
    return np.where(held > order, share + (rest > order), 0).T


def _shares(count: Integers) -> Floats:
    """How much of all lies below each place's value and half of what it stands for, by place."""
    weights = to_weights(count, SAMPLES)[:, _PLACES]
    middles: Floats = (np.cumsum(weights, axis=1) - weights / 2) / count[:, None]
    return middles[:, _POSITIONS]


def _unrolled(lanes: npt.NDArray[np.uint16], first: Integers) -> Integers:
    """Counts by rising bucket: the lanes go around, and `first` is the bucket of the least value."""
    return np.take_along_axis(lanes.astype(np.int64), (first + _ORDER) % LANES, axis=1)


def _masses(counts: Integers, below: Integers, *, lane: Integers) -> tuple[Floats, Floats]:
    """How many measurements lie below the middle of each sample, whose lanes rise along a row; twice.

    A lane's first sample begins half of itself earlier, its last ends half of itself later: what is beyond lies up to
    the lane's edges, and is nothing where all were kept.
    """
    is_other = np.diff(lane, axis=1) > 0
    is_first, is_last = np.pad(is_other, _LEFT, constant_values=True), np.pad(is_other, _RIGHT, constant_values=True)
    start = np.maximum.accumulate(np.where(is_first, _ORDER, 0), axis=1)
    end = np.minimum.accumulate(np.where(is_last, _ORDER + 1, SAMPLES)[:, ::-1], axis=1)[:, ::-1]
    expected = (_ORDER + 1 - start) * (np.take_along_axis(counts, lane, axis=1) + 1) / (end - start + 1)
    middle = np.take_along_axis(below, lane, axis=1) + expected - 0.5
    return middle - 0.5 * is_first, middle + 0.5 * is_last


def _interpolate(steps: Integers, masses: Floats, *, wanted: Floats) -> Floats:
    """Row by row: the step at each wanted mass; steps and masses rise."""
    row = 2 * (masses[:, -1:].max(initial=0) + 1) * np.arange(len(steps))[:, None]
    found: Floats = np.interp((wanted + row).ravel(), (masses + row).ravel(), steps.ravel())
    return found.reshape(wanted.shape)


def _step_of_code(codes: Integers) -> Integers:
    """A 16-bit sample's place on the scale of 1024 steps an octave."""
    return (codes >> _CODE_BITS) * _OCTAVE + (codes & _CODE_MASK)


def _to_step(nanoseconds: npt.NDArray[np.uint32]) -> Integers:
    """A time's place on that scale, as the kernel side computes it: below 2048 ns a step is 1 ns."""
    values = nanoseconds.astype(np.int64)
    exponent = np.maximum(np.frexp(values)[1] - 1 - _OCTAVE_BITS, 0).astype(np.int64)
    step: Integers = exponent * _OCTAVE + (values >> exponent)
    return step


def _to_nanoseconds(steps: Floats) -> Floats:
    """A place between steps, too."""
    exponent = np.maximum(np.floor(steps / _OCTAVE) - 1, 0)
    nanoseconds: Floats = (steps - exponent * _OCTAVE) * np.exp2(exponent)
    return nanoseconds
