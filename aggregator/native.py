"""Arrow tables to ClickHouse's Native format: columns as the server itself holds them.

It takes them for a third of what Arrow's own format costs it, where each value is converted, and in fewer bytes: codes
of a dictionary are as narrow as the dictionary allows. Little-endian, as is every machine that this runs on.

Source: https://clickhouse.com/docs/interfaces/formats/Native; for names, ClickHouse's SerializationLowCardinality.cpp.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Part = bytes | memoryview

_PLAIN: Final = {
    pa.uint8(): "UInt8",
    pa.uint16(): "UInt16",
    pa.uint32(): "UInt32",
    pa.uint64(): "UInt64",
    pa.int32(): "Int32",
    pa.int64(): "Int64",
    pa.timestamp("ns", tz="UTC"): "DateTime64(9, 'UTC')",
    pa.binary(16): "IPv6",
}
"""Whose values are the same bytes in both."""
_CODES: Final = ("u1", "u2", "u4")
_OWN_DICTIONARY: Final = 1 << 9
"""The block brings its keys along (HasAdditionalKeysBit)."""
_VARINT_PLACES: Final = np.arange(5)
"""A length below 2^31 has no more bytes."""


def to_native(rows: pa.Table) -> bytes:
    """The table as one block. Raises: ValueError where a value is missing or a type has no counterpart here."""
    rows = rows.unify_dictionaries().combine_chunks()
    parts: list[Part] = [_varint(rows.num_columns), _varint(rows.num_rows)]
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        if column.null_count:
            raise ValueError(f"{name} has no value in {column.null_count} rows")
        kind, values = _column(column.chunk(0) if column.num_chunks else pa.array([], column.type))
        parts += [_text(name), _text(kind), *(values if rows.num_rows else ())]
    return b"".join(parts)


def _column(column: pa.Array) -> tuple[str, list[Part]]:
    """ClickHouse's name of a column's type, and its values."""
    if column.type in _PLAIN:
        return _PLAIN[column.type], [_plain(column)]
    for is_one, write in _WRITERS:
        if is_one(column.type):
            return write(column)
    raise ValueError(f"{column.type} has no counterpart in ClickHouse here")


def _plain(column: pa.Array) -> memoryview:
    width = column.type.bit_width // 8
    return memoryview(column.buffers()[1])[column.offset * width : (column.offset + len(column)) * width]


def _strings(column: pa.StringArray) -> tuple[str, list[Part]]:
    """Each string behind its length."""
    if not len(column):
        return "String", []
    offsets = np.frombuffer(column.buffers()[1], "i4", count=len(column) + 1, offset=4 * column.offset)
    letters = np.frombuffer(column.buffers()[2] or b"", "u1")[offsets[0] : offsets[-1]]
    shifted = np.diff(offsets)[:, None] >> (7 * _VARINT_PLACES)
    is_present = (shifted > 0) | (_VARINT_PLACES == 0)
    lengths = (shifted & 127 | (shifted > 127) << 7)[is_present].astype("u1")
    return "String", [
        np.insert(letters, np.repeat(offsets[:-1] - offsets[0], is_present.sum(axis=1)), lengths).tobytes()
    ]


def _names(column: pa.DictionaryArray) -> tuple[str, list[Part]]:
    """A dictionary of strings, and a code a row."""
    keys = len(column.dictionary)
    width = 0 if keys <= 1 << 8 else 1 if keys <= 1 << 16 else 2
    codes = column.indices.to_numpy().astype(_CODES[width])
    head = struct.pack("<QQQ", 1, width | _OWN_DICTIONARY, keys)
    return "LowCardinality(String)", [head, *_strings(column.dictionary)[1], struct.pack("<Q", len(column)), codes.data]


def _map(column: pa.MapArray) -> tuple[str, list[Part]]:
    """Where each map ends, then all keys, then all values."""
    ends, span = _ends(column.offsets)
    (key, keys), (value, values) = _column(column.keys[span]), _column(column.items[span])
    return f"Map({key}, {value})", [ends, *keys, *values]


def _list(column: pa.ListArray) -> tuple[str, list[Part]]:
    """Where each list ends, then all values."""
    ends, span = _ends(column.offsets)
    kind, values = _column(column.values[span])
    return f"Array({kind})", [ends, *values]


def _ends(offsets: pa.Int32Array) -> tuple[memoryview, slice]:
    """Where each row ends among the values of all, and which values these are."""
    places: npt.NDArray[np.int32] = offsets.to_numpy()
    return (places[1:] - places[0]).astype("u8").data, slice(int(places[0]), int(places[-1]))


_WRITERS: Final[tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], tuple[str, list[Part]]]], ...]] = (
    (pa.types.is_dictionary, _names),
    (pa.types.is_string, _strings),
    (pa.types.is_map, _map),
    (pa.types.is_list, _list),
)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _varint(len(encoded)) + encoded


def _varint(number: int) -> bytes:
    """LEB128: seven bits a byte, the last one without its highest bit."""
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes((*written, number))
