"""Tables to the bytes of ClickHouse's Native format, literally.

`tests/integration/test_native.py` has the engine read them.
"""

import pyarrow as pa
import pytest

from aggregator.native import to_native

TIME = pa.timestamp("ns", tz="UTC")


@pytest.mark.parametrize(
    ("column", "native"),
    [
        (pa.array([1, 258], pa.uint16()), b"\x06UInt16" + b"\x01\x00\x02\x01"),
        (pa.array([7], pa.int64()).view(TIME), b"\x14DateTime64(9, 'UTC')" + b"\x07" + bytes(7)),
        (pa.array([b"0123456789abcdef"], pa.binary(16)), b"\x04IPv6" + b"0123456789abcdef"),
        (pa.array(["", "é", "x" * 200]), b"\x06String" + b"\x00" + b"\x02\xc3\xa9" + b"\xc8\x01" + b"x" * 200),
        (
            pa.DictionaryArray.from_arrays(pa.array([1, 0, 1]), pa.array(["a", "bc"])),
            b"\x16LowCardinality(String)"
            + (b"\x01" + bytes(7) + b"\x00\x02" + bytes(6) + b"\x02" + bytes(7) + b"\x01a\x02bc")
            + (b"\x03" + bytes(7) + b"\x01\x00\x01"),
        ),
        (
            pa.array([[(5, 6)], [], [(7, 8)]], pa.map_(pa.uint8(), pa.uint8())),
            b"\x11Map(UInt8, UInt8)" + b"".join(bytes((end, *bytes(7))) for end in (1, 1, 2)) + b"\x05\x07\x06\x08",
        ),
        (
            pa.array([[1], [2, 3]], pa.list_(pa.uint8())),
            b"\x0cArray(UInt8)" + b"".join(bytes((end, *bytes(7))) for end in (1, 3)) + b"\x01\x02\x03",
        ),
    ],
    ids=["number", "time", "address", "string", "name", "map", "list"],
)
def test_a_column_is_its_name_its_type_and_its_values(column: pa.Array, native: bytes) -> None:
    head = bytes((1, len(column))) + b"\x01c"
    assert to_native(pa.table({"c": column})) == head + native


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0, 1, 2, 3], pa.uint32()),
        pa.array([b"a" * 16, b"b" * 16, b"c" * 16, b"d" * 16], pa.binary(16)),
        pa.array(["a", "bb", "ccc", "d"]),
        pa.array(["a", "bb", "ccc", "bb"]).dictionary_encode(),
        pa.array([[(1, 2)], [(3, 4), (5, 6)], [], [(7, 8)]], pa.map_(pa.uint16(), pa.uint64())),
        pa.array([[1], [2, 3], [], [4]], pa.list_(pa.uint32())),
    ],
    ids=["number", "address", "string", "name", "map", "list"],
)
def test_a_slice_is_written_as_what_it_holds(column: pa.Array) -> None:
    whole = pa.concat_arrays([column.slice(1, 2)])
    assert to_native(pa.table({"c": column.slice(1, 2)})) == to_native(pa.table({"c": whole}))


def test_chunks_are_one_block_with_one_dictionary() -> None:
    first, second = pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "b"]).dictionary_encode()
    whole = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 1]), pa.array(["a", "b", "c"]))
    assert to_native(pa.table({"c": pa.chunked_array([first, second])})) == to_native(pa.table({"c": whole}))


@pytest.mark.parametrize(("keys", "width"), [(1, 1), (256, 1), (257, 2), (65_536, 2), (65_537, 4)])
def test_codes_are_as_narrow_as_the_dictionary_allows(keys: int, width: int) -> None:
    names = pa.array([f"{number:05}" for number in range(keys)])
    codes = pa.array([keys - 1], pa.int32())
    native = to_native(pa.table({"c": pa.DictionaryArray.from_arrays(codes, names)}))
    assert native.endswith((1).to_bytes(8, "little") + (keys - 1).to_bytes(width, "little"))


def test_no_rows_are_columns_without_values() -> None:
    table = pa.table({"a": pa.array([], pa.uint8()), "b": pa.array([], pa.string()).dictionary_encode()})
    assert to_native(table) == b"\x02\x00" + b"\x01a\x05UInt8" + b"\x01b\x16LowCardinality(String)"


@pytest.mark.parametrize(
    ("column", "message"),
    [(pa.array([1, None]), "c has no value in 1 rows"), (pa.array([1.5]), "double has no counterpart")],
    ids=["missing value", "unknown type"],
)
def test_what_cannot_be_written_is_refused(column: pa.Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_native(pa.table({"c": column}))
