"""DNS tasks to traffic: a server and a client for A and AAAA records over UDP (RFC 1035, RFC 3596)."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import TYPE_CHECKING

from lab.programs.connections import family_of, plain
from lab.programs.work import ANSWER_SECONDS

if TYPE_CHECKING:
    from lab.programs.tasks import Ask, ServeNames
    from lab.programs.work import Work

HEADER = struct.Struct("!HHHHHH")
RECORD_TYPES = {1: 0, 28: 1}  # A and AAAA: place of the address in a name's list
NO_SUCH_NAME = 3
TTL_SECONDS = 30


def to_question(name: str, record_type: int) -> bytes:
    """The question section for one name in class IN."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return labels + b"\0" + struct.pack("!HH", record_type, 1)


def to_query(identity: int, name: str, *, record_type: int) -> bytes:
    """A query that wishes for recursion, as a resolver's stub sends it."""
    return HEADER.pack(identity, 0x0100, 1, 0, 0, 0) + to_question(name, record_type)


def to_answer(query: bytes, names: dict[str, list[str]]) -> bytes:
    """The answer to a query: one record, none of that type, or no such name.

    Raises:
        ValueError: not a query of one plain question.
    """
    try:
        identity, flags, questions, *_ = HEADER.unpack_from(query)
        name, end = _read_name(query, HEADER.size)
        record_type, _ = struct.unpack_from("!HH", query, end)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"not a DNS query: {error}") from error
    if questions != 1 or flags & 0x8000:
        raise ValueError("not a DNS query of one question")
    question = query[HEADER.size : end + 4]
    addresses = names.get(name)
    place = RECORD_TYPES.get(record_type)
    records = [] if addresses is None or place is None else [addresses[place]]
    code = NO_SUCH_NAME if addresses is None else 0
    header = HEADER.pack(identity, 0x8580 | code, 1, len(records), 0, 0)
    return header + question + b"".join(_to_record(record_type, address) for address in records)


def _to_record(record_type: int, address: str) -> bytes:
    packed = ipaddress.ip_address(address).packed
    # 0xC00C points at the question's name, behind the header.
    return struct.pack("!HHHIH", 0xC00C, record_type, 1, TTL_SECONDS, len(packed)) + packed


def _read_name(message: bytes, offset: int) -> tuple[str, int]:
    labels = []
    while (length := message[offset]) != 0:
        labels.append(message[offset + 1 : offset + 1 + length].decode("ascii"))
        offset += 1 + length
    return ".".join(labels), offset + 1


def serve_names(task: ServeNames, work: Work, *, endpoint: socket.socket) -> None:
    """Answer queries."""
    with endpoint:
        while not work.is_over:
            try:
                query, address = endpoint.recvfrom(4096)
            except TimeoutError:
                continue
            try:
                answer = to_answer(query, task.names)
            except ValueError:
                work.ledger.add(work.server("udp", plain(address[0]), port=task.port), failed=1)
                continue
            endpoint.sendto(answer, address)
            work.ledger.add(
                work.server("udp", plain(address[0]), port=task.port),
                datagrams_received=1,
                datagrams_sent=1,
                bytes_received=len(query),
                bytes_sent=len(answer),
            )


def ask(task: Ask, work: Work) -> None:
    """Ask, from a fresh port each time as resolvers do, until it is time to stop."""
    target = (task.target.address, task.target.port)
    here = work.client("udp", target, peer=task.target.peer)
    asked = 0
    while work.pause(task.every_seconds):
        name = task.names[asked % len(task.names)]
        asked += 1
        with socket.socket(family_of(task.target.address), socket.SOCK_DGRAM) as endpoint:
            endpoint.connect(target)
            endpoint.settimeout(ANSWER_SECONDS)
            for record_type in RECORD_TYPES:
                query = to_query(asked & 0xFFFF, name, record_type=record_type)
                try:
                    endpoint.send(query)
                    work.ledger.add(here, datagrams_sent=1, bytes_sent=len(query))
                    answer = endpoint.recv(4096)
                    work.ledger.add(here, datagrams_received=1, exchanges=1, bytes_received=len(answer))
                except OSError:
                    work.ledger.add(here, failed=1)
