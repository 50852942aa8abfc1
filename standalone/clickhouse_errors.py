"""Engine's error to ClickHouse's words, code and HTTP status.

Source of codes and names: the engine's own `errorCodeToName`; of the status: the server's exceptionCodeToHTTPStatus.
"""

from __future__ import annotations

import re
from enum import IntEnum

EXCEPTION = re.compile(r"Code: (\d+)\. DB::.*", re.DOTALL)


class Code(IntEnum):
    """Errors that the HTTP interface itself raises, by ClickHouse's names and numbers."""

    BAD_ARGUMENTS = 36
    NOT_IMPLEMENTED = 48
    SYNTAX_ERROR = 62
    READONLY = 164
    TOO_MANY_SIMULTANEOUS_QUERIES = 202
    CANNOT_DECOMPRESS = 271
    TOO_MANY_BYTES = 307
    SESSION_NOT_FOUND = 372
    SESSION_IS_LOCKED = 373
    INVALID_SESSION_TIMEOUT = 374
    THERE_IS_NO_QUERY = 393
    BAD_REQUEST_PARAMETER = 408
    AUTHENTICATION_FAILED = 516
    STD_EXCEPTION = 1001


STATUS_OF_CODE = {
    **dict.fromkeys((194,), 401),
    **dict.fromkeys((192, 193, 512, 516), 403),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511), 404),
    **dict.fromkeys(
        (8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 124, 167, 168, 223, 321, 376, 427, 441, 675, 676), 400
    ),
    **dict.fromkeys((271, 374, 393, 408, 456, 457), 400),
    **dict.fromkeys((159,), 408),
    **dict.fromkeys((229, 307), 413),
    **dict.fromkeys((48,), 501),
    **dict.fromkeys((76, 202, 209, 236, 439), 503),
}


class DatabaseError(Exception):
    """An error as ClickHouse words it; `code` decides the HTTP status."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    @property
    def status(self) -> int:
        """The HTTP status that ClickHouse's own server answers with."""
        return STATUS_OF_CODE.get(self.code, 500)


def fault(code: Code, text: str) -> DatabaseError:
    """An error of the HTTP interface itself, in ClickHouse's form."""
    return DatabaseError(code, f"Code: {code.value}. DB::Exception: {text}. ({code.name})")


def to_database_error(text: str) -> DatabaseError:
    """The engine's message as ClickHouse's server sends it, without what the binding put before it."""
    found = EXCEPTION.search(text)
    if found is None:
        return fault(Code.STD_EXCEPTION, text)
    return DatabaseError(int(found[1]), found[0])
