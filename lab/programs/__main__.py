"""Lines on standard input to running programs: a process that forks one child for each place traffic runs in.

Forking a process that has everything imported starts a program in two milliseconds and shares its memory. Commands are
`start PROGRAM` and `stop NAME`; each child's end is reported as `ended NAME STATUS`. When standard input ends, so does
everything: this process's death is each child's death signal (prctl(2)), which is why nothing in it has threads.
"""

from __future__ import annotations

import ctypes
import os
import random
import select
import signal
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

from lab.namespaces import enter
from lab.programs import connections, datagrams, names, tasks
from lab.programs.ledger import Ledger
from lab.programs.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG = 1
WRITE_SECONDS = 1.0
RUN: dict[type, Callable[..., None]] = {
    tasks.Serve: connections.serve,
    tasks.Call: connections.call,
    tasks.Dial: connections.dial,
    tasks.Upload: connections.upload,
    tasks.ServeNames: names.serve_names,
    tasks.Ask: names.ask,
    tasks.Echo: datagrams.echo,
    tasks.Hoard: datagrams.hoard,
    tasks.Send: datagrams.send,
    tasks.Ping: datagrams.ping,
}


def run(program: tasks.Program) -> None:
    """Do a program's tasks side by side until each is done or SIGTERM asks for the end."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    enter(Path(program.namespace))
    ledger = Ledger(Path(program.ledger))
    ledger.write()
    with ThreadPoolExecutor(max_workers=len(program.tasks)) as pool:
        running = []
        for index, task in enumerate(program.tasks):
            work = Work(program.me, ledger, random.Random(f"{program.me} {index}"), stopping)
            running.append(pool.submit(RUN[type(task)], task, work))
        while wait(running, WRITE_SECONDS).not_done:
            ledger.write()
    ledger.write()
    for task_run in running:
        task_run.result()


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


def main() -> int:
    """Obey until standard input ends."""
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
                return 0
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                _obey(line.decode(), children)


if __name__ == "__main__":
    sys.exit(main())
