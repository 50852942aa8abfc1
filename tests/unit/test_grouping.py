"""Group numbers and sums, exact in 64 bits."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aggregator.grouping import group, sums

ANY = st.integers(0, 2**31 - 1)


@given(st.data(), st.integers(1, 40), st.integers(1, 5))
def test_rows_are_in_one_group_when_all_their_keys_agree(data: st.DataObject, rows: int, width: int) -> None:
    element = st.one_of(st.integers(0, 2), ANY)
    keys = [data.draw(hnp.arrays("u4", rows, elements=element)) for _ in range(width)]
    found = group(keys)
    tuples = list(zip(*(key.tolist() for key in keys), strict=True))
    assert len(found.first) == len(set(tuples))
    assert [tuples[row] for row in found.first[found.number]] == tuples
    assert [tuples.index(tuples[row]) for row in found.first] == found.first.tolist()


@given(st.data(), st.integers(1, 40))
def test_sums_are_exact_modulo_64_bits(data: st.DataObject, rows: int) -> None:
    number = data.draw(hnp.arrays("u4", rows, elements=st.integers(0, 3)))
    values = data.draw(hnp.arrays("u8", rows, elements=st.one_of(st.integers(0, 9), st.integers(0, 2**64 - 1))))
    groups = group([number])
    expected: dict[int, int] = {}
    for key, value in zip(number.tolist(), values.tolist(), strict=True):
        expected[key] = expected.get(key, 0) + value
    found = dict(zip(number[groups.first].tolist(), sums(values, groups).tolist(), strict=True))
    assert found == {key: value % 2**64 for key, value in expected.items()}
