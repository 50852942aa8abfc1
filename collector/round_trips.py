"""A record's samples and lanes to sixteen round trips that stand for all that it measured. Pure.

Up to sixteen a record holds each one. Of more, the kernel keeps sixteen at random and counts all in sixteen lanes of a
histogram (bpf/round_trips.h). The lanes say how many were about so long, the samples where within a lane they were: the
distribution goes evenly from a lane's edge over its samples to its other edge. What stands for all are its quantiles at
1/32, 3/32 … 31/32; so each stands for an equal share, as each sample of a smaller record does.
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
_SHARES: Final = (np.array([4, 11, 1, 14, 6, 9, 3, 12, 0, 15, 7, 8, 2, 13, 5, 10]) + 0.5) / SAMPLES
"""Low and high ones by turns: of a count that sixteen does not divide, the first ones stand for one more each."""


def to_quantiles(records: Records, place: int) -> npt.NDArray[np.uint32]:
    """Sixteen round trips in ns of each record; `place` is the direction, each record has more than sixteen."""
    least = _to_step(records["rtt_min_ns"][:, place])
    shift = records["rtt_shift"][:, place].astype(np.int64)
    first = least >> shift
    counts = _unrolled(records["rtt_lanes"][:, place], first)
    edges = (first[:, None] + np.arange(LANES + 1)) << shift[:, None]
    samples = np.sort(_step_of_code(records["rtt_samples"][:, place].astype(np.int64)), axis=1)
    lane = np.clip((samples >> shift[:, None]) - first[:, None], 0, LANES - 1)
    below = np.concatenate([np.zeros((len(counts), 1), np.int64), np.cumsum(counts, axis=1)], axis=1)
    steps = np.sort(np.concatenate([edges, samples], axis=1), axis=1)
    masses = np.sort(np.concatenate([below, _masses(counts, below, lane=lane)], axis=1), axis=1)
    found = _to_nanoseconds(_interpolate(steps.astype(np.float64), masses, wanted=below[:, -1:] * _SHARES))
    limits = records["rtt_min_ns"][:, place, None], records["rtt_max_ns"][:, place, None]
    return np.clip(found, *limits).astype(np.uint32)


def _unrolled(lanes: npt.NDArray[np.uint16], first: Integers) -> Integers:
    """Counts by rising bucket: the lanes go around, and `first` is the bucket of the least value."""
    return np.take_along_axis(lanes.astype(np.int64), (first[:, None] + _ORDER) % LANES, axis=1)


def _masses(counts: Integers, below: Integers, *, lane: Integers) -> Floats:
    """How many measurements lie below each sample, whose lanes rise along a row."""
    is_other = np.diff(lane, axis=1) > 0
    start = np.maximum.accumulate(np.where(np.pad(is_other, ((0, 0), (1, 0))), _ORDER, 0), axis=1)
    end = np.minimum.accumulate(np.where(np.pad(is_other, ((0, 0), (0, 1))), _ORDER + 1, SAMPLES)[:, ::-1], axis=1)
    share = (_ORDER + 1 - start) / (end[:, ::-1] - start + 1)
    masses: Floats = np.take_along_axis(below, lane, axis=1) + np.take_along_axis(counts, lane, axis=1) * share
    return masses


def _interpolate(steps: Floats, masses: Floats, *, wanted: Floats) -> Floats:
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
