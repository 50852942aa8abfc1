"""SQL text to what an HTTP front must know of it: is it an INSERT, where do its rows begin, in which format.

No parser: a scanner that steps over strings, quoted names and comments, so that a word inside them is never mistaken
for a keyword. The engine stays the judge of the rest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# Order matters: what may contain anything comes before words and signs.
TOKEN = re.compile(
    rb"""(?P<space>\s+|--[^\n]*|\#[!\ ][^\n]*|/\*.*?\*/)
       | (?P<text>'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*`)
       | (?P<word>[A-Za-z_][A-Za-z0-9_$]*)
       | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
# After the format's name: blanks, then at most one line end belong to the statement, everything else to the rows.
BEFORE_ROWS = re.compile(rb"[ \t\f]*;?[ \t\f]*\r?\n?")
READING = frozenset({b"SELECT", b"WITH", b"SHOW", b"DESCRIBE", b"DESC", b"EXPLAIN", b"EXISTS", b"(", b"FROM"})
WRITING = frozenset({b"INSERT", b"CREATE", b"ALTER", b"DROP"})
READS_ROWS_FROM_A_QUERY = frozenset({b"SELECT", b"WITH", b"FROM"})


class Insert(NamedTuple):
    """An INSERT that brings its rows along: `statement` without FORMAT clause, `rows` what stood behind it.

    Not complete: neither FORMAT nor VALUES was there.
    """

    statement: str
    row_format: str
    rows: memoryview
    is_complete: bool = True


class Token(NamedTuple):
    """One word or sign: `text` in upper case, and where it stands."""

    text: bytes
    start: int
    end: int


def tokens(sql: bytes) -> Iterator[Token]:
    """Words, quoted texts and signs in order, without blanks and comments."""
    for match in TOKEN.finditer(sql):
        if match.lastgroup != "space":
            yield Token(match[0].upper(), match.start(), match.end())


def split_insert(sql: bytes) -> Insert | None:
    """The parts of an INSERT with rows or with a place for them; None for every other statement.

    INSERT … SELECT is no such INSERT: its rows come from a query. Without FORMAT and VALUES the rows are in the
    format Values, as in ClickHouse.
    """
    scan = tokens(sql)
    if next(scan, Token(b"", 0, 0)).text != b"INSERT":
        return None
    depth = 0
    at_format = 0
    for token in scan:
        depth += (token.text == b"(") - (token.text == b")")
        if at_format:
            rows = BEFORE_ROWS.match(sql, token.end)
            begin = rows.end() if rows else token.end
            return Insert(_text(sql[:at_format]), _text(sql[token.start : token.end]), memoryview(sql)[begin:])
        if depth == 0 and token.text in READS_ROWS_FROM_A_QUERY:
            return None
        if depth == 0 and token.text == b"VALUES":
            return Insert(_text(sql[: token.start]), "Values", memoryview(sql)[token.end :])
        if depth == 0 and token.text == b"FORMAT":
            at_format = token.start
    return Insert(_text(sql).rstrip("; \t\r\n"), "Values", memoryview(b""), is_complete=False)


def output_format(sql: bytes, otherwise: str) -> str:
    """The format that the statement's own last FORMAT clause names, else the given one."""
    found = otherwise
    before = b""
    depth = 0
    for token in tokens(sql):
        depth += (token.text == b"(") - (token.text == b")")
        if before == b"FORMAT" and depth == 0 and token.text[:1].isalpha():
            found = _text(sql[token.start : token.end])
        before = token.text
    return found


def is_reading(sql: bytes) -> bool:
    """Whether the statement can only read: what GET is allowed to do."""
    scan = tokens(sql)
    first = next(scan, None)
    return first is None or (first.text in READING and all(token.text not in WRITING for token in scan))


def is_several(sql: bytes) -> bool:
    """Whether something stands behind a statement's end sign."""
    ended = False
    for token in tokens(sql):
        if ended and token.text != b";":
            return True
        ended = token.text == b";"
    return False


def words(sql: bytes) -> bytes:
    """The statement in upper case with one blank between its tokens and no end sign: equal texts mean the same."""
    return b" ".join(token.text for token in tokens(sql)).rstrip(b" ;")


def quoted(text: str) -> str:
    """A string literal that means exactly `text`."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _text(sql: bytes) -> str:
    return sql.decode()
