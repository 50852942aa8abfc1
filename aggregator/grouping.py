"""Key columns to group numbers, and columns to their sums and extremes per group; exact in 64 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

_EXACT: Final = 1 << 53
"""Whole numbers up to here are exact in the doubles that bincount adds."""
_ROOM: Final = 1 << 63
_HALF: Final = np.uint64(32)


class Groups(NamedTuple):
    """Rows with the same keys are one group."""

    number: npt.NDArray[np.int32]
    """The group of each row, from 0 on in order of appearance."""
    first: npt.NDArray[np.signedinteger]
    """The first row of each group."""


def group(keys: Iterable[npt.NDArray[np.integer]]) -> Groups:
    """The groups of rows by these keys; each key is an array of numbers ≥ 0, one a row, at least one row."""
    packed, room = np.zeros(1, "i8"), 1
    for key in keys:
        span = int(key.max()) + 1
        if room * span >= _ROOM:
            packed, room = _renumber(packed)
        packed = packed * span + key
        room *= span
    encoded = pa.array(packed).dictionary_encode()
    number = encoded.indices.to_numpy()
    first = np.empty(len(encoded.dictionary), "i4")
    first[number[::-1]] = np.arange(len(number) - 1, -1, -1, dtype="i4")
    return Groups(number, first)


def sums(values: npt.NDArray[np.unsignedinteger], groups: Groups) -> npt.NDArray[np.uint64]:
    """The sum of each group, modulo 2^64."""
    count = len(groups.first)
    if not len(values) or int(values.max()) * len(values) < _EXACT:
        total: npt.NDArray[np.uint64] = np.bincount(groups.number, values, count).astype("u8")
        return total
    wide = values.astype("u8")
    low, high = wide & np.uint64(0xFFFFFFFF), wide >> _HALF
    low_sum, high_sum = (np.bincount(groups.number, half, count).astype("u8") for half in (low, high))
    whole: npt.NDArray[np.uint64] = low_sum + (high_sum << _HALF)
    return whole


def _renumber(packed: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int]:
    """The same groups in numbers without holes, and how many there are."""
    encoded = pa.array(packed).dictionary_encode()
    return encoded.indices.to_numpy().astype("i8"), len(encoded.dictionary)
