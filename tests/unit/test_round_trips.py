"""What a record holds of many round trips to sixteen that stand for them."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.batches import to_flow_columns
from collector.records import FLOW_RECORD, LANES
from collector.round_trips import to_quantiles, to_weights

pytestmark = pytest.mark.unit

NARROW = 6
"""The kernel's narrowest lane, a sixteenth of an octave, has 2^6 steps."""


def to_code(nanoseconds: int) -> int:
    exponent = max(0, nanoseconds.bit_length() - 11)
    return exponent << 11 | nanoseconds >> exponent


def to_step(nanoseconds: int) -> int:
    return (to_code(nanoseconds) >> 11) * 1024 + (to_code(nanoseconds) & 2047)


def a_record(round_trips: list[int], *, kept: list[int]) -> npt.NDArray[np.void]:
    """What the kernel writes of these round trips in ns, of which it kept sixteen."""
    record = np.zeros(1, FLOW_RECORD)
    least, most, shift = to_step(min(round_trips)), to_step(max(round_trips)), NARROW
    while (most >> shift) - (least >> shift) >= LANES:
        shift += 1
    record["rtt_count"][0, 1], record["rtt_shift"][0, 1] = len(round_trips), shift
    record["rtt_min_ns"][0, 1], record["rtt_max_ns"][0, 1] = min(round_trips), max(round_trips)
    for round_trip in round_trips:
        record["rtt_lanes"][0, 1, to_step(round_trip) >> shift & (LANES - 1)] += 1
    record["rtt_samples"][0, 1] = [to_code(round_trip) for round_trip in kept]
    return record


@pytest.mark.parametrize(
    ("round_trips", "kept", "quantiles"),
    [
        pytest.param([5_000] * 20, [5_000] * 16, [5_000] * 16, id="one value"),
        pytest.param(
            [10_000] * 16 + [1_000_000] * 16,
            [10_000, 1_000_000] * 8,
            [10_000] * 8 + [1_000_000] * 8,
            id="two values, half of each",
        ),
        pytest.param(
            list(range(100_000, 132_000, 1_000)),
            list(range(100_000, 132_000, 2_000)),
            [100_500 + 2_000 * n for n in range(16)],
            id="values in steps",
        ),
        pytest.param(list(range(17)), [*range(16)], [n * 17 / 16 for n in range(16)], id="below one step of 64 ns"),
        pytest.param([2**32 - 1] * 17, [2**32 - 1] * 16, [2**32 - 1] * 16, id="as long as can be told"),
    ],
)
def test_sixteen_quantiles_stand_for_many(round_trips: list[int], kept: list[int], quantiles: list[float]) -> None:
    (found,) = to_quantiles(a_record(round_trips, kept=kept), 1)
    assert sorted(found.tolist()) == pytest.approx(quantiles, rel=0.01, abs=2)


@given(st.lists(st.integers(1, 1 << 32), min_size=1, max_size=20))
def test_the_weights_of_a_records_samples_add_up_to_its_count(counts: list[int]) -> None:
    weights = to_weights(np.array(counts, np.int64), min(8, max(counts)))
    assert weights.sum(axis=1).tolist() == counts
    assert (np.count_nonzero(weights, axis=1) == np.minimum(counts, 8)).all()
    assert (weights.max(axis=1) - weights[weights > 0].min() >= 0).all()


@pytest.mark.parametrize("count", range(18, 48, 2))
def test_an_even_count_that_sixteen_does_not_divide_gives_no_side_more_weight(count: int) -> None:
    round_trips = [1_000_000 + 1_000 * n for n in range(count)]
    (found,) = to_quantiles(a_record(round_trips, kept=[round_trips[n * count // 16] for n in range(16)]), 1)
    weights = to_weights(np.array([count]), 16)[0]
    below = found < np.median(found)
    assert weights[below].sum() == weights[~below].sum() == count // 2


def test_lanes_that_hold_nothing_leave_the_limits() -> None:
    """A count that a race lost is no reason for a value outside the record's own extremes."""
    record = a_record([2_000] * 17, kept=[2_000] * 16)
    record["rtt_lanes"] = 0
    assert to_quantiles(record, 1).tolist() == [[2_000] * 16]


def test_only_records_with_more_than_sixteen_have_quantiles() -> None:
    few, many = np.zeros(1, FLOW_RECORD), a_record(list(range(1_000, 1_200, 2)), kept=list(range(1_000, 1_192, 12)))
    few["rtt_count"][0], few["rtt_samples"][0, 1, :2] = [0, 2], [700, 50]
    columns = to_flow_columns(np.concatenate([few, many]), {}, offset_ns=0)
    told = columns.column("reverse_rtt_samples").to_pylist()
    assert told[0] == [700, 50, *[0] * 14]
    assert (len(set(told[1])), min(told[1]) >= 1_000, max(told[1]) <= 1_198) == (16, True, True)
    assert columns.column("rtt_samples").to_pylist() == [[0] * 16] * 2
