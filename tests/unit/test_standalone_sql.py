"""SQL text to what the embedded ClickHouse's HTTP front must know of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.clickhouse_sql import (
    is_reading,
    is_several,
    output_format,
    quoted,
    split_insert,
    words,
)

INSERTS = [
    pytest.param(b"INSERT INTO t FORMAT CSV\n1,2\n", ("INSERT INTO t ", "CSV", b"1,2\n"), id="format and a line end"),
    pytest.param(b"insert into t format Native\n\x00\xff", ("insert into t ", "Native", b"\x00\xff"), id="bytes"),
    pytest.param(b"INSERT INTO t FORMAT TSV\n\n1", ("INSERT INTO t ", "TSV", b"\n1"), id="only one line end is eaten"),
    pytest.param(b"INSERT INTO t FORMAT CSV 1,2", ("INSERT INTO t ", "CSV", b"1,2"), id="rows on the same line"),
    pytest.param(b"INSERT INTO t (a) VALUES (1),(2)", ("INSERT INTO t (a) ", "Values", b" (1),(2)"), id="values"),
    pytest.param(b"INSERT INTO t (format) VALUES (1)", ("INSERT INTO t (format) ", "Values", b" (1)"), id="a column"),
    pytest.param(b"INSERT INTO `format x` FORMAT CSV\n", ("INSERT INTO `format x` ", "CSV", b""), id="a quoted table"),
    pytest.param(b"-- FORMAT x\nINSERT /* FORMAT y */ INTO t FORMAT CSV\n1",
                 ("-- FORMAT x\nINSERT /* FORMAT y */ INTO t ", "CSV", b"1"), id="comments"),
    pytest.param(b"INSERT INTO t SETTINGS a='FORMAT b' FORMAT CSV\n1",
                 ("INSERT INTO t SETTINGS a='FORMAT b' ", "CSV", b"1"), id="a setting's text"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "parts"), INSERTS)
def test_an_insert_is_split_where_its_rows_begin(sql: bytes, parts: tuple[str, str, bytes]) -> None:
    insert = split_insert(sql)
    assert insert is not None
    assert (insert.statement, insert.row_format, bytes(insert.rows)) == parts
    assert insert.is_complete


@pytest.mark.parametrize(
    "sql",
    [
        b"SELECT 1",
        b"INSERT INTO t SELECT 1",
        b"INSERT INTO t WITH 1 AS x SELECT x",
        b"",
        b"-- INSERT INTO t FORMAT CSV",
    ],
)
def test_what_brings_no_rows_is_no_insert_with_rows(sql: bytes) -> None:
    assert split_insert(sql) is None


def test_an_insert_without_format_and_values_waits_for_more_text() -> None:
    insert = split_insert(b"INSERT INTO t (a, b) ;")
    assert insert is not None
    assert insert == ("INSERT INTO t (a, b)", "Values", memoryview(b""), False)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"select 1 format JSONEachRow;", "JSONEachRow"),
        (b"SELECT 'FORMAT CSV'", "TSV"),
        (b"SELECT 1 -- FORMAT CSV", "TSV"),
        (b"SELECT format('{}', 1)", "TSV"),
        (b"SELECT * FROM (SELECT 1) FORMAT Arrow SETTINGS max_threads=1", "Arrow"),
    ],
)
def test_the_format_is_the_statements_own_or_the_one_asked_for(sql: bytes, expected: str) -> None:
    assert output_format(sql, "TSV") == expected


@pytest.mark.parametrize(
    "sql", [b"SELECT 1", b"WITH 1 AS a SELECT a", b"SHOW TABLES", b"(SELECT 1)", b"DESCRIBE t", b"EXPLAIN SELECT 1"]
)
def test_statements_that_read_are_known(sql: bytes) -> None:
    assert is_reading(sql)


@pytest.mark.parametrize(
    "sql",
    [
        b"DROP TABLE t",
        b"/* SELECT */ INSERT INTO t VALUES (1)",
        b"WITH 1 AS a INSERT INTO t SELECT a",
        b"SYSTEM SHUTDOWN",
    ],
)
def test_statements_that_write_do_not_pass_as_reading(sql: bytes) -> None:
    assert not is_reading(sql)


@pytest.mark.parametrize(
    ("sql", "several"), [(b"SELECT 1; SELECT 2", True), (b"SELECT 1;\n-- end", False), (b"SELECT ';'", False)]
)
def test_a_second_statement_is_noticed(sql: bytes, several: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_several(sql) is several


def test_statements_that_differ_in_blanks_comments_and_case_are_the_same_words() -> None:
    assert words(b" select\n1 , /* x */ version( ) ;") == words(b"SELECT 1, version()")


@given(st.text())
def test_a_quoted_text_is_one_token_whatever_it_holds(text: str) -> None:
    assert not is_several(f"SELECT {quoted(text)}".encode())


@given(st.binary())
def test_any_rows_come_back_as_they_went_in(rows: bytes) -> None:
    insert = split_insert(b"INSERT INTO t FORMAT Native\n" + rows)
    assert insert is not None
    assert bytes(insert.rows) == rows
