"""UDP and ICMP tasks to traffic: an echo, a receiver that does not read, a sender, pings."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from lab.programs.connections import family_of, plain
from lab.programs.work import ANSWER_SECONDS

if TYPE_CHECKING:
    from lab.programs.tasks import Echo, Hoard, Ping, Send
    from lab.programs.work import Work

PING_BYTES = 56
ECHO_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}


def echo(task: Echo, work: Work, *, endpoint: socket.socket) -> None:
    """Send datagrams back to where they came from."""
    with endpoint:
        while not work.is_over:
            try:
                text, address = endpoint.recvfrom(65535)
            except TimeoutError:
                continue
            endpoint.sendto(text, address)
            work.ledger.add(
                work.server("udp", plain(address[0]), port=task.port),
                datagrams_received=1,
                datagrams_sent=1,
                bytes_received=len(text),
                bytes_sent=len(text),
            )


def hoard(task: Hoard, work: Work, *, endpoint: socket.socket) -> None:
    """Let a buffer run full; at the end read what was in it, so that the ledger knows what was lost."""
    with endpoint:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, task.buffer_bytes)
        work.stopping.wait()
        endpoint.settimeout(0)
        with suppress(BlockingIOError):
            while True:
                text, address = endpoint.recvfrom(65535)
                here = work.server("udp", plain(address[0]), port=task.port)
                work.ledger.add(here, datagrams_received=1, bytes_received=len(text))


def send(task: Send, work: Work) -> None:
    """Send datagrams from one port; a missing echo is no failure, the counts tell."""
    target = (task.target.address, task.target.port)
    here = work.client("udp", target, peer=task.target.peer)
    text = os.urandom(task.size)
    with socket.socket(family_of(task.target.address), socket.SOCK_DGRAM) as endpoint:
        endpoint.connect(target)
        endpoint.settimeout(ANSWER_SECONDS)
        while work.pause(task.every_seconds):
            try:
                endpoint.send(text)
                work.ledger.add(here, datagrams_sent=1, bytes_sent=len(text))
                if task.wants_echo:
                    answer = endpoint.recv(65535)
                    work.ledger.add(here, datagrams_received=1, bytes_received=len(answer))
            except OSError:
                work.ledger.add(here, failed=1)


def ping(task: Ping, work: Work) -> None:
    """Send echo requests through the kernel's ping socket, which matches the answers by itself."""
    family = family_of(task.target.address)
    protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    here = work.client("icmp", (task.target.address, 0), peer=task.target.peer)
    sequence = 0
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as endpoint:
        endpoint.connect((task.target.address, 0))
        endpoint.settimeout(ANSWER_SECONDS)
        while work.pause(task.every_seconds):
            sequence = (sequence + 1) & 0xFFFF
            message = struct.pack("!BBHHH", ECHO_REQUEST[family], 0, 0, 0, sequence) + bytes(PING_BYTES)
            try:
                endpoint.send(message)
                work.ledger.add(here, datagrams_sent=1, bytes_sent=PING_BYTES)
                endpoint.recv(65535)
                work.ledger.add(here, datagrams_received=1, bytes_received=PING_BYTES)
            except OSError:
                work.ledger.add(here, failed=1)
