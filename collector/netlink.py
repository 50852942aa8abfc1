"""The kernel's routing socket to interfaces, addresses and TC filters: the one file that speaks netlink.

Raw messages, because a node makes hundreds of interfaces at once and each must be counted before its first packet: one
send attaches both directions in 0.08 ms, where a general library needs 3 ms and 20 MB.
"""

import errno
import os
import socket
import struct
from pathlib import Path
from typing import Final, NamedTuple

from collector.namespace import run_inside
from collector.netlink_messages import (
    DELQDISC,
    DELTFILTER,
    DONE,
    ERROR,
    GETADDR,
    GETLINK,
    GETROUTE,
    GETTFILTER,
    NEWADDR,
    NEWLINK,
    NEWQDISC,
    NEWTFILTER,
    Event,
    Filter,
    Link,
    clsact_body,
    filter_body,
    filter_options,
    hook_body,
    split,
    to_address,
    to_default_route,
    to_event,
    to_filter,
    to_link,
)

_REQUEST, _ACK, _DUMP, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
_SOL_NETLINK, _EXT_ACK = 270, 11
_SO_RCVBUFFORCE: Final = 33
_EVENT_BUFFER_BYTES: Final = 8 << 20
_EVENTS_AT_ONCE: Final = 64
_EVENT_GROUPS: Final = 0x1 | 0x10 | 0x100  # links, IPv4 addresses, IPv6 addresses

_Message = tuple[int, bytes]


class _Request(NamedTuple):
    kind: int
    flags: int
    body: bytes


class EventsLostError(Exception):
    """More happened than the socket could hold: list everything again."""


class Netlink:
    """Requests and answers, one at a time, in one network namespace. Not for use by two threads at once."""

    def __init__(self, namespace: Path | None = None) -> None:
        """Raises: OSError when the namespace can't be entered."""
        self._socket = run_inside(namespace, _open_socket)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def list_links(self) -> list[Link]:
        """All interfaces of the namespace."""
        answers = self._dump(GETLINK, struct.pack("<BBHiII", 0, 0, 0, 0, 0, 0))
        return [to_link(body) for kind, body in answers if kind == NEWLINK]

    def list_addresses(self) -> list[bytes]:
        """All addresses of all interfaces, 16 bytes each, IPv4 mapped, in order."""
        answers = self._dump(GETADDR, struct.pack("<BBBBi", 0, 0, 0, 0, 0))
        return sorted({to_address(body) for kind, body in answers if kind == NEWADDR})

    def list_default_route(self) -> set[int]:
        """Interfaces that the default routes of the main table lead through, IPv4's and IPv6's."""
        answers = self._dump(GETROUTE, struct.pack("<BBBBBBBBI", 0, 0, 0, 0, 0, 0, 0, 0, 0))
        return {index for _, body in answers for index in to_default_route(body)}

    def list_filters(self, ifindex: int, direction: int) -> list[Filter]:
        """The filters at one hook of an interface that run programs; none where there is no hook."""
        try:
            answers = self._dump(GETTFILTER, hook_body(ifindex, direction))
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP}:
                return []
            raise
        filters = (to_filter(body) for kind, body in answers if kind == NEWTFILTER)
        return [found for found in filters if found is not None]

    def attach(self, ifindex: int, programs: dict[int, int], *, name: str) -> tuple[bool, dict[int, int]]:
        """Attach a program (descriptor) per direction, in one send: was clsact made, and the error (0: none) of each.

        A filter of ours that is already there gives EEXIST: see `replace`.
        """
        requests = [_Request(NEWQDISC, _REQUEST | _ACK | _CREATE | _EXCLUSIVE, clsact_body(ifindex))]
        for direction, program in programs.items():
            body = filter_body(ifindex, direction) + filter_options(program, name)
            requests.append(_Request(NEWTFILTER, _REQUEST | _ACK | _CREATE | _EXCLUSIVE, body))
        made, *errors = self._request(requests)
        if made and made != errno.EEXIST:
            return False, dict.fromkeys(programs, made)
        return made == 0, dict(zip(programs, errors, strict=True))

    def replace(self, ifindex: int, direction: int, *, program: int, name: str) -> None:
        """Put another program (descriptor) into our filter's place, in one step: no packet passes uncounted."""
        body = filter_body(ifindex, direction) + filter_options(program, name)
        _raise_first(self._request([_Request(NEWTFILTER, _REQUEST | _ACK | _CREATE, body)]))

    def detach(self, ifindex: int, direction: int) -> None:
        """Remove our filter."""
        _raise_first(self._request([_Request(DELTFILTER, _REQUEST | _ACK, filter_body(ifindex, direction))]))

    def remove_clsact(self, ifindex: int) -> None:
        """Remove the interface's clsact and everybody's filters with it."""
        _raise_first(self._request([_Request(DELQDISC, _REQUEST | _ACK, clsact_body(ifindex))]))

    def _request(self, requests: list[_Request]) -> list[int]:
        first = self._sequence + 1
        self._socket.send(b"".join(self._pack(request) for request in requests))
        errors: dict[int, int] = {}
        while len(errors) < len(requests):
            for kind, sequence, body in split(self._socket.recv(1 << 16)):
                if kind == ERROR and sequence >= first:
                    errors[sequence] = -int.from_bytes(body[:4], "little", signed=True)
        return [errors[first + place] for place in range(len(requests))]

    def _dump(self, kind: int, body: bytes) -> list[_Message]:
        self._socket.send(self._pack(_Request(kind, _REQUEST | _DUMP, body)))
        answers: list[_Message] = []
        while True:
            for kind_of_answer, sequence, content in split(self._socket.recv(1 << 18)):
                if sequence != self._sequence:
                    continue
                if kind_of_answer in {DONE, ERROR}:
                    _raise_first([-int.from_bytes(content[:4], "little", signed=True) if content else 0])
                    return answers
                answers.append((kind_of_answer, content))

    def _pack(self, request: _Request) -> bytes:
        self._sequence += 1
        return (
            struct.pack("<IHHII", 16 + len(request.body), request.kind, request.flags, self._sequence, 0) + request.body
        )


class Events:
    """Interfaces and addresses that come and go in one network namespace, as the kernel tells it."""

    def __init__(self, namespace: Path | None = None) -> None:
        """Listens from now on. Raises: OSError when the namespace can't be entered."""
        self._socket = run_inside(namespace, _open_socket)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _EVENT_BUFFER_BYTES)
        self._socket.bind((0, _EVENT_GROUPS))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def receive(self, timeout_seconds: float) -> list[Event]:
        """The next events, in order, as many as wait; none after the timeout. Raises: EventsLostError."""
        events: list[Event] = []
        self._socket.settimeout(timeout_seconds)
        try:
            while len(events) < _EVENTS_AT_ONCE:
                received = self._socket.recv(1 << 18)
                events += [event for kind, _, body in split(received) if (event := to_event(kind, body)) is not None]
                self._socket.settimeout(0)
        except (TimeoutError, BlockingIOError):
            return events
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise EventsLostError from error
            raise
        return events


def _open_socket() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)


def _raise_first(errors: list[int]) -> None:
    for code in errors:
        if code:
            raise OSError(code, os.strerror(code))
