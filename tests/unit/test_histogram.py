"""Histograms: the middle of a bucket is near, weights are whole, nothing is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aggregator.histogram import histograms, to_bucket, to_ns, to_weights

ERROR = 1 / 32
U32 = st.integers(0, 2**32 - 1)


@given(hnp.arrays("u8", st.integers(1, 50), elements=st.integers(1, 2**53)))
def test_the_middle_of_a_bucket_is_within_3_1_percent_of_any_value_in_it(values: np.ndarray) -> None:
    middle = to_ns(to_bucket(values))
    assert (np.abs(middle - values) <= ERROR * values).all()


@pytest.mark.parametrize(
    ("ns", "bucket"), [(0, 0), (1, 0), (2, 16), (3, 24), (1000, 159), (1_000_000, 318), (2**33, 528)]
)
def test_buckets_are_those_that_sql_knows(ns: int, bucket: int) -> None:
    assert to_bucket(np.array([ns], "u8")).tolist() == [bucket]


@given(hnp.arrays("u4", st.integers(1, 50), elements=U32))
def test_weights_are_whole_and_add_up_to_the_count(count: np.ndarray) -> None:
    held = to_weights(count, 8)
    totals = np.zeros(len(count), "u8")
    np.add.at(totals, held.row, held.weight)
    assert totals.tolist() == count.tolist()
    assert np.bincount(held.row, minlength=len(count)).tolist() == np.minimum(count, 8).tolist()
    assert held.weight.tolist() == [] or held.weight.min() > 0


@given(st.data())
def test_histograms_hold_each_measurement_of_their_group_and_no_other(data: st.DataObject) -> None:
    rows = data.draw(st.integers(0, 30))
    count = data.draw(hnp.arrays("u4", rows, elements=st.one_of(st.integers(0, 20), U32)))
    group = data.draw(hnp.arrays("i4", rows, elements=st.integers(0, 4)))
    samples = data.draw(hnp.arrays("u4", (rows, 8), elements=U32))
    found = [dict(each) for each in histograms(group, count, samples=samples, groups=5).to_pylist()]
    for number, histogram in enumerate(found):
        mine = group == number
        assert sum(histogram.values()) == int(count[mine].sum(dtype="u8"))
        held = np.arange(8) < np.minimum(count[mine], 8)[:, None]
        assert set(histogram) == set(to_bucket(samples[mine][held]).tolist())
    assert len(found) == 5


def test_a_weight_beyond_24_bits_is_counted_whole() -> None:
    samples = np.zeros((2, 8), "u4")
    samples[:, 0] = 5
    found = histograms(np.zeros(2, "i4"), np.array([1, 2**32 - 1], "u4"), samples=samples, groups=1).to_pylist()
    assert sum(dict(found[0]).values()) == 2**32
