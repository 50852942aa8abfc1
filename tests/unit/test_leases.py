"""Leases: who held an address at a time, for whole columns; and the table that grows by one row at a time."""

import bisect

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.identity.addresses import AddressIndex, to_address, to_words
from aggregator.identity.lease_table import LeaseTable
from aggregator.identity.leases import FOREVER, Kind, Lease, Leases, Names

SHOP = "10.244.1.5"


def lease(text: str, pod: str, begin: int, end: int = FOREVER, **names: str) -> Lease:
    return Lease(to_address(text), begin, end, Kind.POD, Names(pod=pod, **names), pod)


def table_of(*leases: Lease) -> LeaseTable:
    table = LeaseTable()
    table.put_place("unresolved", Lease(b"", 0, FOREVER, Kind.UNRESOLVED, Names(workload="unresolved")))
    for row in leases:
        table.put((row.address, row.uid), row)
    return table


def holders(leases: Leases, text: str, *times: int) -> list[str | None]:
    rows = leases.find(to_words(to_address(text) * len(times)), np.array(times, "i8"))
    pods = leases.names("pod", np.where(rows < 0, leases.unresolved, rows)).to_pylist()
    return [pod if row >= 0 else None for pod, row in zip(pods, rows, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.1.2.3", b"\0" * 10 + b"\xff\xff\x0a\x01\x02\x03"),
        ("::ffff:10.1.2.3", b"\0" * 10 + b"\xff\xff\x0a\x01\x02\x03"),
        ("fd00::1", b"\xfd" + b"\0" * 14 + b"\x01"),
        ("fe80::1%eth0", b"\xfe\x80" + b"\0" * 13 + b"\x01"),
    ],
)
def test_an_address_is_sixteen_bytes_with_ipv4_mapped(text: str, expected: bytes) -> None:
    assert to_address(text) == expected


def test_a_name_is_no_address() -> None:
    with pytest.raises(ValueError, match="node-1"):
        to_address("node-1")


def test_words_of_a_sliced_column_begin_where_the_slice_does() -> None:
    column = pa.array([to_address(f"10.0.0.{i}") for i in range(5)], pa.binary(16))
    assert to_words(column.slice(2, 2)).tobytes() == to_address("10.0.0.2") + to_address("10.0.0.3")
    assert to_words(column.slice(5)).shape == (0, 2)


@given(st.sets(st.binary(min_size=16, max_size=16), max_size=300), st.binary(min_size=16, max_size=16))
def test_an_index_finds_each_of_its_addresses_and_no_other(addresses: set[bytes], stranger: bytes) -> None:
    held = sorted(addresses)
    index = AddressIndex(to_words(b"".join(held)))
    asked = [*held, stranger]
    assert index.find(to_words(b"".join(asked))).tolist() == [
        held.index(address) if address in addresses else -1 for address in asked
    ]


def test_a_lease_holds_from_its_begin_up_to_but_not_at_its_end() -> None:
    leases = table_of(lease(SHOP, "shop", 100, 200)).snapshot()
    assert holders(leases, SHOP, 99, 100, 199, 200) == [None, "shop", "shop", None]


def test_an_address_that_was_used_again_names_each_holder_in_its_own_time() -> None:
    leases = table_of(lease(SHOP, "new", 300), lease(SHOP, "old", 100, 200), lease(SHOP, "older", 0, 100)).snapshot()
    assert holders(leases, SHOP, 50, 150, 250, 350) == ["older", "old", None, "new"]


def test_an_address_nobody_ever_held_has_no_lease() -> None:
    assert holders(table_of(lease(SHOP, "shop", 0)).snapshot(), "10.244.1.6", 50) == [None]


def test_no_lease_at_all_finds_nothing() -> None:
    leases = table_of().snapshot()
    assert len(leases) == 0
    assert holders(leases, SHOP, 50) == [None]


def test_a_lease_under_the_same_key_replaces_the_one_before() -> None:
    table = table_of(lease(SHOP, "shop", 100))
    table.put((to_address(SHOP), "shop"), lease(SHOP, "shop", 100, 200))
    assert holders(table.snapshot(), SHOP, 150, 250) == ["shop", None]


def test_a_snapshot_keeps_what_the_table_forgot() -> None:
    table = table_of(lease(SHOP, "shop", 100))
    before = table.snapshot()
    table.remove((to_address(SHOP), "shop"))
    table.remove((to_address(SHOP), "shop"))
    assert holders(before, SHOP, 150) == ["shop"]
    assert holders(table.snapshot(), SHOP, 150) == [None]


def test_a_group_is_what_rows_have_in_common() -> None:
    leases = table_of(
        lease("10.0.0.1", "a", 0, workload="web"),
        lease("10.0.0.2", "b", 0, workload="api"),
        lease("10.0.0.3", "c", 0, workload="web"),
    ).snapshot()
    grouping = leases.group(("namespace", "workload"))
    assert grouping.codes[0] == grouping.codes[2] != grouping.codes[1]
    assert leases.names("workload", grouping.rows[grouping.codes]).to_pylist() == ["web", "api", "web", "unresolved"]
    assert leases.group(("namespace", "workload")) is grouping


def test_names_carry_only_what_occurs() -> None:
    leases = table_of(*(lease(f"10.0.0.{i}", f"pod-{i}", 0) for i in range(9))).snapshot()
    names = leases.names("pod", np.array([3, 3, 7], "i4"))
    assert names.to_pylist() == ["pod-3", "pod-3", "pod-7"]
    assert names.dictionary.to_pylist() == ["pod-3", "pod-7"]


history = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(range(1, 4)), st.booleans()), max_size=1500)


@given(history, st.lists(st.tuples(st.integers(0, 40), st.integers(-5, 5000)), min_size=1, max_size=50))
def test_a_snapshot_answers_as_a_search_through_a_list_would(
    steps: list[tuple[int, int, bool]], asked: list[tuple[int, int]]
) -> None:
    table, truth = table_of(), dict[bytes, list[tuple[int, int, str]]]()
    for number, (host, length, is_kept) in enumerate(steps):
        address, begin = to_address(f"10.0.0.{host}"), 3 * number
        key = (address, str(number))
        table.put(key, Lease(address, begin, begin + length, Kind.POD, Names(pod=str(number))))
        if is_kept:
            truth.setdefault(address, []).append((begin, begin + length, str(number)))
        else:
            table.remove(key)
    leases = table.snapshot()
    for host, at in asked:
        held = truth.get(to_address(f"10.0.0.{host}"), [])
        place = bisect.bisect_right(held, (at, FOREVER, "")) - 1
        expected = held[place][2] if place >= 0 and at < held[place][1] else None
        assert holders(leases, f"10.0.0.{host}", at) == [expected]


def test_a_compacted_table_says_the_same_and_forgets_unused_names() -> None:
    table = table_of(lease(SHOP, "old", 100, 200), lease(SHOP, "new", 200))
    table.remove((to_address(SHOP), "old"))
    table.compact()
    leases = table.snapshot()
    assert holders(leases, SHOP, 150, 250) == [None, "new"]
    assert leases.values["pod"].to_pylist() == ["", "new"]
    assert leases.values["pod"][table.code("pod", "new")].as_py() == "new"
    assert len(table) == 2


def test_a_table_grows_past_its_first_size() -> None:
    count = 3000
    table = table_of(*(lease(f"10.{i >> 8}.{i & 255}.1", f"pod-{i}", 0) for i in range(count)))
    leases = table.snapshot()
    assert len(leases) == count
    assert [holders(leases, f"10.{i >> 8}.{i & 255}.1", 5) for i in (0, 1500, 2999)] == [
        ["pod-0"],
        ["pod-1500"],
        ["pod-2999"],
    ]
