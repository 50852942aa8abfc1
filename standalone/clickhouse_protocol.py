"""HTTP request to ClickHouse statement: the rules of ClickHouse's HTTP interface, pure.

Source: https://clickhouse.com/docs/en/interfaces/http
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from standalone.clickhouse_errors import Code, fault
from standalone.clickhouse_sql import is_reading, is_several, output_format, split_insert, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from standalone.clickhouse_sql import Insert

# Parameters of the interface itself; every other name is a setting of the engine.
INTERFACE = frozenset(
    {
        "query", "database", "default_format", "user", "password", "quota_key", "role", "session_id", "session_timeout",
        "session_check", "query_id", "compress", "decompress", "client_protocol_version", "wait_end_of_query",
        "buffer_size", "stacktrace", "close_session",
        # How the answer travels: one machine's front always sends it whole.
        "send_progress_in_http_headers", "http_headers_progress_interval_ms", "enable_http_compression",
        "http_zlib_compression_level", "http_write_exception_in_output_format", "http_response_buffer_size",
        "cancel_http_readonly_queries_on_client_close", "add_http_cors_header", "send_timeout", "receive_timeout",
    }
)  # fmt: skip
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

CONTENT_TYPE = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "JSONCompactEachRow": "application/x-ndjson; charset=UTF-8",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "Native": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "RowBinaryWithNamesAndTypes": "application/octet-stream",
}
READ_ONLY_GET = (
    "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
    "You should use method POST for modifying queries"
)
# clickhouse-go's first question. It reads the answer as a block with block info and then goes on with the revision it
# was told; the engine writes Native blocks without, so it is told revision 0.
GO_HELLO = words(b"SELECT displayName(), version(), revision(), timezone()")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement with everything that goes with it; `insert` is set when it brings rows along."""

    sql: str
    insert: Insert | None
    rows: tuple[bytes | memoryview, ...]
    format: str
    database: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    session: str | None = None
    session_seconds: int = 60
    session_must_exist: bool = False
    wants_hello: bool = False


class Counts(NamedTuple):
    """What X-ClickHouse-Summary tells."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0


def read_statement(
    query: Iterable[tuple[str, str]], headers: Mapping[str, str], *, body: bytes, is_get: bool
) -> Statement:
    """The statement that a request asks for; `body` is already decompressed.

    Raises:
        DatabaseError: a name that is none, a framing that this server does not speak, no statement at all.
    """
    arguments = dict(query)
    for name in arguments:
        if not NAME.match(name):
            raise fault(Code.BAD_REQUEST_PARAMETER, f"{name!r} is no name of a parameter")
    for framing in ("compress", "decompress"):
        if arguments.get(framing, "0") not in {"0", "false"}:
            raise fault(Code.NOT_IMPLEMENTED, f"{framing}=1: use Accept-Encoding and Content-Encoding")
    asked = arguments.get("default_format") or headers.get("X-ClickHouse-Format") or "TabSeparated"
    sql, insert, rows = _parts(arguments.get("query", "").encode(), body)
    if is_get and not is_reading(sql):
        raise fault(Code.READONLY, READ_ONLY_GET)
    if headers.get("Content-Type", "").startswith("multipart/form-data"):
        raise fault(Code.NOT_IMPLEMENTED, "multipart/form-data: send parameters in the address and rows as the body")
    return Statement(
        sql="" if insert else _single(sql),
        insert=insert,
        rows=rows,
        format=asked if insert else output_format(sql, asked),
        database=arguments.get("database") or headers.get("X-ClickHouse-Database") or None,
        settings={
            name: value for name, value in arguments.items() if name not in INTERFACE and not name.startswith("param_")
        },
        parameters={
            name.removeprefix("param_"): value for name, value in arguments.items() if name.startswith("param_")
        },
        session=arguments.get("session_id") or None,
        session_seconds=_seconds(arguments.get("session_timeout", "60")),
        session_must_exist=arguments.get("session_check") == "1",
        wants_hello="client_protocol_version" in arguments and asked == "Native" and words(sql) == GO_HELLO,
    )


def summary(counts: Counts) -> str:
    """The value of X-ClickHouse-Summary: numbers as strings, as ClickHouse writes them."""
    return json.dumps({name: str(value) for name, value in counts._asdict().items()}, separators=(",", ":"))


def hello_block(*, display_name: str, version: str, timezone: str) -> bytes:
    """The answer to clickhouse-go's first question: a Native block as protocol revision 54460 has it."""
    columns = [
        ("displayName()", "String", _string(display_name)),
        ("version()", "String", _string(version)),
        ("revision()", "UInt32", struct.pack("<I", 0)),
        ("timezone()", "String", _string(timezone)),
    ]
    # Block info: field 1 is "overflows" = 0, field 2 the bucket number = -1, 0 ends it. Then 4 columns, 1 row.
    block = struct.pack("<BBBiB", 1, 0, 2, -1, 0) + bytes((len(columns), 1))
    for name, kind, value in columns:
        block += _string(name) + _string(kind) + b"\0" + value  # 0: no custom serialization
    return block


def _parts(query: bytes, body: bytes) -> tuple[bytes, Insert | None, tuple[bytes | memoryview, ...]]:
    """The statement's text, its INSERT if it is one with rows, and the rows.

    ClickHouse joins the parameter and the body with a line end; rows may be any bytes and are not copied for that.
    """
    sql = query if query.strip() else body
    insert = _insert(sql)
    if sql is not body and body and (insert is None or not insert.is_complete):
        sql = query + b"\n" + body
        insert = _insert(sql)
    elif sql is not body and insert is not None:
        return sql, insert, (insert.rows, body)
    return sql, insert, (insert.rows,) if insert else ()


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 3600):
        raise fault(Code.INVALID_SESSION_TIMEOUT, f"session_timeout={text!r} is not a number from 1 to 3600")
    return int(text)


def _insert(sql: bytes) -> Insert | None:
    try:
        return split_insert(sql)
    except UnicodeDecodeError as error:
        raise fault(Code.BAD_ARGUMENTS, "The INSERT before its rows is not UTF-8") from error


def _single(sql: bytes) -> str:
    if not words(sql):
        raise fault(Code.THERE_IS_NO_QUERY, "There is no query: send it as ?query=… or as the request's body")
    if is_several(sql):
        raise fault(Code.SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed)")
    try:
        return sql.decode()
    except UnicodeDecodeError as error:
        raise fault(Code.BAD_ARGUMENTS, f"The statement is not UTF-8 at byte {error.start}") from error


def _string(text: str) -> bytes:
    encoded = text.encode()
    length = len(encoded)
    prefix = b""
    while length > 127:
        prefix += bytes((length & 127 | 128,))
        length >>= 7
    return prefix + bytes((length,)) + encoded
