"""HTTP request to ClickHouse statement, as the embedded ClickHouse reads it."""

import json

import pytest

from standalone.clickhouse_errors import Code, DatabaseError, to_database_error
from standalone.clickhouse_protocol import Counts, Statement, hello_block, read_statement, summary


def asked(
    arguments: dict[str, str], *, body: bytes = b"", headers: dict[str, str] | None = None, is_get: bool = False
) -> Statement:
    return read_statement(arguments.items(), headers or {}, body=body, is_get=is_get)


def rows_of(statement: Statement) -> bytes:
    return b"".join(statement.rows)


def test_the_query_is_the_parameter_the_body_or_both_in_this_order() -> None:
    assert asked({"query": "SELECT 1"}).sql == "SELECT 1"
    assert asked({}, body=b"SELECT 1").sql == "SELECT 1"
    assert asked({"query": "SELECT"}, body=b"1").sql == "SELECT\n1"


def test_an_inserts_rows_come_from_behind_the_statement_and_from_the_body() -> None:
    statement = asked({"query": "INSERT INTO t FORMAT CSV 1\n"}, body=b"2\n")
    assert statement.insert is not None
    assert (statement.insert.statement, statement.insert.row_format) == ("INSERT INTO t ", "CSV")
    assert rows_of(statement) == b"1\n2\n"


def test_an_insert_in_the_parameter_may_be_finished_in_the_body() -> None:
    statement = asked({"query": "INSERT INTO t"}, body=b"FORMAT TSV\n1\n")
    assert statement.insert is not None
    assert (statement.insert.row_format, rows_of(statement)) == ("TSV", b"1\n")
    assert asked({"query": "INSERT INTO t"}, body=b"SELECT 1").sql == "INSERT INTO t\nSELECT 1"


def test_a_large_body_is_handed_on_without_a_copy() -> None:
    body = b"x" * 1000
    assert asked({"query": "INSERT INTO t FORMAT Native"}, body=body).rows[1] is body


def test_names_of_the_interface_are_no_settings() -> None:
    statement = asked(
        {
            "query": "SELECT {a:String}",
            "database": "d",
            "param_a": "x",
            "max_threads": "2",
            "session_id": "s",
            "session_timeout": "7",
            "wait_end_of_query": "1",
        }
    )
    assert (statement.database, statement.session, statement.session_seconds) == ("d", "s", 7)
    assert (statement.settings, statement.parameters) == ({"max_threads": "2"}, {"a": "x"})


def test_the_format_is_in_the_statement_the_parameter_the_header_or_tab_separated() -> None:
    assert asked({"query": "SELECT 1 FORMAT CSV", "default_format": "JSON"}).format == "CSV"
    assert (
        asked({"query": "SELECT 1", "default_format": "JSON"}, headers={"X-ClickHouse-Format": "CSV"}).format == "JSON"
    )
    assert asked({"query": "SELECT 1"}, headers={"X-ClickHouse-Format": "CSV"}).format == "CSV"
    assert asked({"query": "SELECT 1"}).format == "TabSeparated"


@pytest.mark.parametrize(
    ("arguments", "body", "code"),
    [
        pytest.param({}, b"", Code.THERE_IS_NO_QUERY, id="no query"),
        pytest.param({}, b"-- nothing\n;", Code.THERE_IS_NO_QUERY, id="only a comment"),
        pytest.param({"query": "SELECT 1; SELECT 2"}, b"", Code.SYNTAX_ERROR, id="two statements"),
        pytest.param({"a b": "1", "query": "SELECT 1"}, b"", Code.BAD_REQUEST_PARAMETER, id="a name with a blank"),
        pytest.param({"x=1, y": "1", "query": "SELECT 1"}, b"", Code.BAD_REQUEST_PARAMETER, id="SQL in a name"),
        pytest.param(
            {"param_a`": "1", "query": "SELECT 1"}, b"", Code.BAD_REQUEST_PARAMETER, id="SQL in a parameter's name"
        ),
        pytest.param(
            {"compress": "1", "query": "SELECT 1"}, b"", Code.NOT_IMPLEMENTED, id="ClickHouse's block framing"
        ),
        pytest.param({"session_timeout": "x", "query": "SELECT 1"}, b"", Code.INVALID_SESSION_TIMEOUT, id="no number"),
        pytest.param({}, b"SELECT '\xff'", Code.BAD_ARGUMENTS, id="a query that is no text"),
        pytest.param({}, b"INSERT INTO \xff FORMAT CSV\n1", Code.BAD_ARGUMENTS, id="an insert that is no text"),
    ],
)
def test_what_cannot_be_run_is_refused_with_clickhouses_code(
    arguments: dict[str, str], body: bytes, code: Code
) -> None:
    with pytest.raises(DatabaseError) as refused:
        asked(arguments, body=body)
    assert refused.value.code == code
    assert str(refused.value).startswith(f"Code: {code.value}. DB::Exception: ")
    assert str(refused.value).endswith(f"({code.name})")


def test_a_form_is_refused_with_what_to_send_instead() -> None:
    with pytest.raises(DatabaseError, match="send parameters in the address") as refused:
        asked({"query": "SELECT 1"}, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert refused.value.code == Code.NOT_IMPLEMENTED


def test_get_only_reads() -> None:
    assert asked({"query": "SELECT 1"}, is_get=True).sql == "SELECT 1"
    with pytest.raises(DatabaseError, match="method GET implies readonly") as refused:
        asked({"query": "DROP TABLE t"}, is_get=True)
    assert refused.value.code == Code.READONLY


@pytest.mark.parametrize(
    ("text", "code", "status", "sent"),
    [
        (
            "Code: 60. DB::Exception: No table. (UNKNOWN_TABLE)",
            60,
            404,
            "Code: 60. DB::Exception: No table. (UNKNOWN_TABLE)",
        ),
        ("Streaming insert finish failed: Code: 27. DB::Exception: x\ny", 27, 400, "Code: 27. DB::Exception: x\ny"),
        ("Code: 159. DB::Exception: too slow", 159, 408, "Code: 159. DB::Exception: too slow"),
        ("Code: 241. DB::Exception: memory", 241, 500, "Code: 241. DB::Exception: memory"),
        ("no code at all", 1001, 500, "Code: 1001. DB::Exception: no code at all. (STD_EXCEPTION)"),
    ],
)
def test_the_engines_errors_become_clickhouses(text: str, code: int, status: int, sent: str) -> None:
    error = to_database_error(text)
    assert (error.code, error.status, str(error)) == (code, status, sent)


def test_the_summary_holds_numbers_as_texts() -> None:
    assert json.loads(summary(Counts(read_rows=3, written_rows=2)))["written_rows"] == "2"


def test_clickhouse_gos_hello_is_recognised_only_in_native_with_a_protocol_version() -> None:
    hello = "SELECT displayName(), version(), revision(), timezone()"
    go = {"query": hello, "default_format": "Native", "client_protocol_version": "54460"}
    assert asked(go).wants_hello
    assert not asked(go | {"default_format": "JSON"}).wants_hello
    assert not asked({"query": hello, "default_format": "Native"}).wants_hello
    assert not asked(go | {"query": "SELECT version()"}).wants_hello


def test_the_hello_is_a_block_of_revision_54460() -> None:
    block = hello_block(display_name="kni", version="26.9", timezone="UTC")
    assert block == (
        b"\x01\x00\x02\xff\xff\xff\xff\x00"  # block info
        b"\x04\x01"  # 4 columns, 1 row
        b"\x0ddisplayName()\x06String\x00\x03kni"
        b"\x09version()\x06String\x00\x0426.9"
        b"\x0arevision()\x06UInt32\x00\x00\x00\x00\x00"
        b"\x0atimezone()\x06String\x00\x03UTC"
    )


def test_long_texts_have_their_length_in_seven_bit_groups() -> None:
    assert b"\xac\x02" + b"v" * 300 in hello_block(display_name="", version="v" * 300, timezone="")
