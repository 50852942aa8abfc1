"""Requests to answers over TCP: the protocol that the lab's TCP programs speak, and how each byte of it is counted.

A request is a header (length of the client's name, length of the body, length of the wished answer), the name and the
body; an answer is a header (length of the server's name, length of the payload), the name and the payload. So both
sides know who the other is, whatever stands between them.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lab.programs.work import Work

REQUEST = struct.Struct("!HII")
ANSWER = struct.Struct("!HI")
TIMEOUT_SECONDS = 10.0
END_SECONDS = 1.0
CHUNK = bytes(65536)


class ClosedError(Exception):
    """The other side ended the connection, in order."""


class Received(NamedTuple):
    """One message from the other side."""

    sender: str
    wished: int
    size: int


def read_exactly(connection: socket.socket, length: int) -> bytes:
    """The next `length` bytes.

    Raises:
        ClosedError: the connection ended before.
    """
    parts = []
    while length:
        part = connection.recv(min(length, 65536))
        if not part:
            raise ClosedError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _skip(connection: socket.socket, length: int) -> None:
    while length:
        part = connection.recv(min(length, 262144))
        if not part:
            raise ClosedError
        length -= len(part)


def send_request(connection: socket.socket, name: str, *, body: int, wished: int) -> int:
    """Send a request with `body` bytes that wishes for as many as `wished`; the number of bytes sent."""
    encoded = name.encode()
    connection.sendall(REQUEST.pack(len(encoded), body, wished) + encoded + CHUNK[: min(body, len(CHUNK))])
    return REQUEST.size + len(encoded) + min(body, len(CHUNK))


def receive_request(connection: socket.socket) -> Received:
    """The next request, its body read and forgotten."""
    name_length, body, wished = REQUEST.unpack(read_exactly(connection, REQUEST.size))
    name = read_exactly(connection, name_length).decode()
    _skip(connection, body)
    return Received(name, wished, REQUEST.size + name_length + body)


def send_answer(connection: socket.socket, name: str, *, size: int) -> int:
    """Send an answer with `size` bytes of payload; the number of bytes sent."""
    encoded = name.encode()
    connection.sendall(ANSWER.pack(len(encoded), size) + encoded + bytes(size))
    return ANSWER.size + len(encoded) + size


def receive_answer(connection: socket.socket) -> Received:
    """The next answer, its payload read and forgotten."""
    name_length, size = ANSWER.unpack(read_exactly(connection, ANSWER.size))
    name = read_exactly(connection, name_length).decode()
    _skip(connection, size)
    return Received(name, 0, ANSWER.size + name_length + size)


def _end(connection: socket.socket) -> None:
    """Close in order: a pod may be gone the moment its program ends, so the server's FIN is awaited and answered."""
    with connection, suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(END_SECONDS)
        while connection.recv(4096):
            pass


class Caller:
    """A client's connection to one address: opened when needed, counted, kept until it is closed."""

    def __init__(self, work: Work, address: tuple[str, int]) -> None:
        self._work = work
        self._address = address
        self._connection: socket.socket | None = None
        self._is_counted = False

    def call(self, *, body: int, wished: int) -> bool:
        """One request and its answer; False when it failed, which is counted and ends the connection."""
        try:
            connection = self._connection or self._open()
            sent = send_request(connection, self._work.me, body=body, wished=wished)
            answer = receive_answer(connection)
        except (OSError, ClosedError):
            self._work.ledger.add(self._work.client("tcp", self._address), failed=1)
            self.close()
            return False
        opened = 0 if self._is_counted else 1
        self._is_counted = True
        self._work.ledger.add(
            self._work.client("tcp", self._address, peer=answer.sender),
            connections=opened,
            exchanges=1,
            bytes_sent=sent,
            bytes_received=answer.size,
        )
        return True

    def _open(self) -> socket.socket:
        self._connection = socket.create_connection(self._address, TIMEOUT_SECONDS)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._connection

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None:
            _end(self._connection)
        self._connection = None
        self._is_counted = False
