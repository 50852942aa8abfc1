"""TCP tasks to traffic: servers that think and ask others, clients, attempts that fail, a bulk upload."""

from __future__ import annotations

import errno
import select
import socket
from functools import partial
from typing import TYPE_CHECKING

from lab.programs.exchange import (
    CHUNK,
    TIMEOUT_SECONDS,
    Caller,
    ClosedError,
    receive_request,
    send_answer,
)
from lab.programs.work import POLL_SECONDS

if TYPE_CHECKING:
    from lab.programs.tasks import Call, Dial, Serve, Upload
    from lab.programs.work import Work

EXCHANGES_DOWNSTREAM = 20


def listen(kind: socket.SocketKind, port: int) -> socket.socket:
    """A socket for clients at all IPv6 and IPv4 addresses; it wakes now and then, so that its owner can look around."""
    listener = socket.socket(socket.AF_INET6, kind)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::", port))
    listener.settimeout(POLL_SECONDS)
    if kind == socket.SOCK_STREAM:
        listener.listen(64)
    return listener


def family_of(address: str) -> socket.AddressFamily:
    """The address family of an address in text."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def plain(address: str) -> str:
    """An address as people write it: IPv4 is not mapped into IPv6."""
    return address.removeprefix("::ffff:")


def serve(task: Serve, work: Work, *, endpoint: socket.socket) -> None:
    """Run a server, a thread for each connection."""
    threads = []
    with endpoint:
        while not work.is_over:
            try:
                connection, address = endpoint.accept()
            except TimeoutError:
                continue
            threads.append(work.spawn(partial(_serve_one, task, work, connection=connection, client=plain(address[0]))))
    for thread in threads:
        thread.join()


def _serve_one(task: Serve, work: Work, *, connection: socket.socket, client: str) -> None:
    caller = None if task.downstream is None else Caller(work, (task.downstream.address, task.downstream.port))
    served = 0
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while _is_readable(connection, work):
            try:
                connection.settimeout(TIMEOUT_SECONDS)
                request = receive_request(connection)
                if caller is not None:
                    caller.call(body=120, wished=800)
                work.stopping.wait(task.think_seconds * work.randomness.uniform(0.5, 1.5))
                sent = send_answer(connection, work.me, size=request.wished)
            except ClosedError:
                break
            except OSError:
                work.ledger.add(work.server("tcp", client, port=task.port), failed=1)
                break
            here = work.server("tcp", client, port=task.port, peer=request.sender)
            new = 0 if served else 1
            served += 1
            work.ledger.add(here, connections=new, exchanges=1, bytes_sent=sent, bytes_received=request.size)
            if caller is not None and served % EXCHANGES_DOWNSTREAM == 0:
                caller.close()
    if caller is not None:
        caller.close()


def _is_readable(connection: socket.socket, work: Work) -> bool:
    connection.settimeout(POLL_SECONDS)
    while not work.is_over:
        try:
            return bool(connection.recv(1, socket.MSG_PEEK))
        except TimeoutError:
            continue
        except OSError:
            return False
    return False


def call(task: Call, work: Work) -> None:
    """Make exchanges until it is time to stop, or all are made."""
    caller = Caller(work, (task.target.address, task.target.port))
    made = 0
    while made != task.count and work.pause(task.every_seconds):
        caller.call(body=task.body, wished=task.wished)
        made += 1
        if made % task.exchanges_per_connection == 0:
            caller.close()
    caller.close()


def dial(task: Dial, work: Work) -> None:
    """Try to connect; what comes of it is the ledger's."""
    here = work.client("tcp", (task.target.address, task.target.port), peer=task.target.peer)
    outcomes = {None: "unanswered", 0: "connections", errno.ECONNREFUSED: "refused"}
    while work.pause(task.every_seconds):
        work.ledger.add(here, **{outcomes.get(_try(task, work), "failed"): 1})


def _try(task: Dial, work: Work) -> int | None:
    """The error of an attempt to connect, 0 for none, None when no answer came in time (or until the end)."""
    with socket.socket(family_of(task.target.address), socket.SOCK_STREAM) as endpoint:
        endpoint.setblocking(False)  # noqa: FBT003 (the library's signature)
        code = endpoint.connect_ex((task.target.address, task.target.port))
        if code != errno.EINPROGRESS:
            return code
        for _ in range(round(task.timeout_seconds / POLL_SECONDS)):
            if select.select([], [endpoint], [], POLL_SECONDS)[1]:
                return endpoint.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if work.is_over:
                break
    return None


def upload(task: Upload, work: Work) -> None:
    """Send pieces of 64 KiB, each with its answer, as fast as allowed, until all is sent."""
    address = (task.target.address, task.target.port)
    caller = Caller(work, address)
    left = task.size
    while left > 0 and not work.stopping.wait(len(CHUNK) / task.bytes_per_second):
        caller.call(body=min(left, len(CHUNK)), wished=0)
        left -= len(CHUNK)
    caller.close()
