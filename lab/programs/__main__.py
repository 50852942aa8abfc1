"""Lines on standard input to running programs: a process that forks one child for each place traffic runs in.

Forking a process that has everything imported starts a program in two milliseconds and shares its memory. Commands are
`start PROGRAM` and `stop NAME`; answers are `ready NAME` once its servers listen, and `ended NAME STATUS`. When its
standard input ends, so does everything. Its death is each child's death signal (prctl(2)), which means the thread that
forked: that is why nothing in this process has threads.
"""

from __future__ import annotations

import ctypes
import os
import random
import select
import signal
import socket
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.namespaces import enter
from lab.programs import connections, datagrams, names, tasks
from lab.programs.ledger import Ledger
from lab.programs.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG = 1
WRITE_SECONDS = 1.0
CLIENTS: dict[type, Callable[[Any, Work], None]] = {
    tasks.Call: connections.call,
    tasks.Dial: connections.dial,
    tasks.Upload: connections.upload,
    tasks.Ask: names.ask,
    tasks.Send: datagrams.send,
    tasks.Ping: datagrams.ping,
}
SERVERS: dict[type, tuple[socket.SocketKind, Callable[..., None]]] = {
    tasks.Serve: (socket.SOCK_STREAM, connections.serve),
    tasks.ServeNames: (socket.SOCK_DGRAM, names.serve_names),
    tasks.Echo: (socket.SOCK_DGRAM, datagrams.echo),
    tasks.Hoard: (socket.SOCK_DGRAM, datagrams.hoard),
}


def run(program: tasks.Program) -> None:
    """Do a program's tasks side by side until each is done or SIGTERM asks for the end."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    enter(Path(program.namespace))
    ledger = Ledger(Path(program.ledger))
    ledger.write()
    prepared = [_prepare(task) for task in program.tasks]
    print(f"ready {program.me}", flush=True)
    with ThreadPoolExecutor(max_workers=len(program.tasks)) as pool:
        running = []
        for index, (task, start) in enumerate(zip(program.tasks, prepared, strict=True)):
            work = Work(program.me, ledger, random.Random(f"{program.me} {index}"), stopping)
            running.append(pool.submit(start, task, work))
        while wait(running, WRITE_SECONDS).not_done:
            ledger.write()
    ledger.write()
    for task_run in running:
        task_run.result()


def _prepare(task: tasks.Task) -> Callable[[Any, Work], None]:
    if type(task) in CLIENTS:
        return CLIENTS[type(task)]
    kind, serve = SERVERS[type(task)]
    return partial(serve, endpoint=connections.listen(kind, task.port))  # type: ignore[union-attr]


def _start(program: tasks.Program, parent: int) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(sys.stdin.fileno())
            run(program)
            status = 0
    except BaseException:  # noqa: BLE001 (a child must never go on as its parent; what happened is in the log)
        traceback.print_exc()
    os._exit(status)


def _reap(children: dict[str, int]) -> None:
    for name, child in list(children.items()):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            del children[name]
            print(f"ended {name} {os.waitstatus_to_exitcode(status)}", flush=True)


def _obey(line: str, children: dict[str, int]) -> None:
    verb, _, rest = line.partition(" ")
    if verb == "start":
        program = tasks.from_line(rest)
        children[program.me] = _start(program, os.getpid())
    elif rest in children:
        os.kill(children[rest], signal.SIGTERM)


def _end(children: dict[str, int]) -> int:
    for child in children.values():
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return 0


def main() -> int:
    """Obey until standard input ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # a child may be told to stop before it can handle it
    children: dict[str, int] = {}
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writable)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pending = b""
    while True:
        ready, _, _ = select.select([0, readable], [], [])
        if readable in ready:
            os.read(readable, 4096)
            _reap(children)
        if 0 in ready:
            read = os.read(0, 65536)
            if not read:
                return _end(children)
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                _obey(line.decode(), children)


if __name__ == "__main__":
    sys.exit(main())
