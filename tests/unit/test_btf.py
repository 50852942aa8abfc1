"""BTF bytes to offsets, enum values and prototypes: built here by the format's description, field by field."""

import struct
from pathlib import Path

import pytest

from collector.btf import Btf, BtfLookupError, BtfUnavailableError, read_btf
from tests.unit.btf_writer import ARRAY, CONST, ENUM, INT, POINTER, PROTOTYPE, STRUCT, TYPEDEF, UNION, Writer


def build() -> Btf:
    writer = Writer()
    integer = writer.add(INT, "int", 4, struct.pack("=I", 32))
    pointer = writer.add(POINTER, "", integer)
    writer.add(ARRAY, "", 0, struct.pack("=III", integer, integer, 4))
    inner = writer.members(STRUCT, "inner", 16, [("first", integer, 0), ("second", pointer, 64)])
    alias = writer.add(TYPEDEF, "inner_t", inner)
    fixed = writer.add(CONST, "", alias)
    union = writer.members(UNION, "", 8, [("one", integer, 0), ("other", pointer, 0)])
    writer.members(STRUCT, "outer", 40, [("head", integer, 0), ("", union, 64), ("nested", fixed, 128)])
    writer.members(STRUCT, "flags", 8, [("low", integer, 3 << 24 | 0), ("high", integer, 8 << 24 | 32)], bits=1)
    tail = struct.pack("=IiIi", writer.name("KNI_ZERO"), 0, writer.name("KNI_SEVEN"), 7)
    enum = writer.add(ENUM, "numbers", 4, tail, elements=2)
    outer_pointer = writer.add(POINTER, "", 8)
    parameters = struct.pack("=IIIIII", 0, outer_pointer, 0, enum, 0, writer.add(POINTER, "", 0))
    prototype = writer.add(PROTOTYPE, "", 0, parameters, elements=3)
    writer.add(TYPEDEF, "trace_t", writer.add(POINTER, "", prototype))
    return Btf(writer.content())


@pytest.mark.parametrize(
    ("struct_name", "path", "offset"),
    [
        ("outer", "head", 0),
        ("outer", "one", 8),
        ("outer", "other", 8),
        ("outer", "nested", 16),
        ("outer", "nested.first", 16),
        ("outer", "nested.second", 24),
        ("inner", "second", 8),
        ("flags", "high", 4),
    ],
)
def test_a_field_is_found_through_unions_typedefs_and_nested_structs(struct_name: str, path: str, offset: int) -> None:
    assert build().offset(struct_name, path) == offset


def test_an_enum_gives_names_and_values() -> None:
    assert build().enum("numbers") == {"KNI_ZERO": 0, "KNI_SEVEN": 7}


def test_a_function_typedef_gives_the_types_of_its_parameters() -> None:
    assert build().parameters("trace_t") == ("outer*", "numbers", "void*")


@pytest.mark.parametrize(("struct_name", "path"), [("outer", "absent"), ("outer", "head.absent"), ("absent", "head")])
def test_a_field_that_this_kernel_lacks_is_an_error_that_names_it(struct_name: str, path: str) -> None:
    with pytest.raises(BtfLookupError, match="absent"):
        build().offset(struct_name, path)


def test_a_typedef_of_something_else_has_no_parameters() -> None:
    with pytest.raises(BtfLookupError, match="inner_t"):
        build().parameters("inner_t")


@pytest.mark.parametrize("content", [b"", b"\x7fELF" + bytes(60)], ids=["nothing", "another file"])
def test_bytes_that_are_no_btf_are_refused(content: bytes) -> None:
    with pytest.raises(BtfUnavailableError):
        Btf(content)


def test_a_kernel_without_btf_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BtfUnavailableError, match="CONFIG_DEBUG_INFO_BTF"):
        read_btf(tmp_path / "vmlinux")
