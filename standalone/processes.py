"""Commands to running programs that end in order: own session, death signal, readiness, deadline, SIGKILL.

A program runs in a session of its own, so that Ctrl-C in the terminal reaches only the one that started it, which then
stops everything in order. `setpriv` gives it a death signal: when its parent dies, even by SIGKILL, the kernel sends it
SIGTERM. That signal follows the *thread* that started the program: start programs from the main thread.
Programs write their log to an inherited descriptor, never into a pipe of the parent: it must outlive the parent.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from standalone.settings import child_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from types import FrameType

READY_CHECK_SECONDS = 0.05
READY_ANSWER_SECONDS = 5.0  # loading may keep both cores busy
LAST_LINES = 5
STANDARD_ERROR = 2
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ChildError(Exception):
    """A program that ended, or did not get ready, or did not stop in time; the message is for the user."""


@dataclass(frozen=True, slots=True)
class Program:
    """How to start a program and to know that it serves: by a line on standard output, or by asking a URL."""

    name: str
    command: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    has_ready_line: bool = False
    ready_url: str | None = None
    ready_seconds: float = 60.0
    stop_seconds: float = 15.0


def python_module(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of this project with this interpreter, whatever the working directory holds."""
    return (sys.executable, "-P", "-m", module, *arguments)


class Child:
    """A started program."""

    def __init__(self, program: Program, logs: Path | None) -> None:
        self.program = program
        self.log = None if logs is None else logs / f"{program.name}.log"
        command = ("setpriv", "--pdeathsig", "TERM", *program.command)
        output = _open_log(self.log)
        try:
            self.process = subprocess.Popen(
                command,
                env=child_environment(dict(program.settings)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if program.has_ready_line else output or STANDARD_ERROR,
                stderr=output,
                start_new_session=True,
                text=True,
            )
        finally:
            if output is not None:
                output.close()

    def wait_ready(self) -> str:
        """The line that says it serves (empty for a program that is asked by URL).

        Raises:
            ChildError: it ended, or the time is over; it still has to be stopped then.
        """
        if self.program.ready_url is not None:
            self._wait_for_url(self.program.ready_url)
            return ""
        output = self.process.stdout
        line = ""
        if output is not None and select.select([output], [], [], self.program.ready_seconds)[0]:
            line = output.readline().strip()
        if not line:
            raise ChildError(self._why_not_ready())
        return line

    def ask_to_stop(self) -> None:
        """Send SIGTERM; a program that is gone is left alone."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def wait_stopped(self) -> int:
        """The exit status, after SIGKILL if it did not stop by itself in its time.

        Raises:
            ChildError: it had to be killed.
        """
        try:
            return self.process.wait(self.program.stop_seconds)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            self.process.wait()
            seconds = self.program.stop_seconds
            raise ChildError(f"{self.program.name} did not stop within {seconds:g} s and was killed") from error
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()

    def _wait_for_url(self, url: str) -> None:
        for _ in range(int(self.program.ready_seconds / READY_CHECK_SECONDS)):
            if _answers(url):
                return
            try:
                self.process.wait(READY_CHECK_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            break
        raise ChildError(self._why_not_ready())

    def _why_not_ready(self) -> str:
        """What a user can act on; its last words when they are in a file, else they stand above on the terminal."""
        try:
            status = self.process.wait(READY_CHECK_SECONDS)
            what = f"{self.program.name} ended with status {status} before it was ready"
        except subprocess.TimeoutExpired:
            what = f"{self.program.name} was not ready within {self.program.ready_seconds:g} s"
        return what + self.last_words()

    def last_words(self) -> str:
        """The end of a message: where its log is and how that ends; without a log it spoke on the terminal."""
        if self.log is None:
            return ": what it said last stands above"
        lines = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join([f" (its log: {self.log})", *lines])


def stop_together(children: Iterable[Child]) -> list[str]:
    """Stop programs that do not need each other; what went wrong, in words, nothing if all ended with status 0."""
    stopping = list(children)
    for child in stopping:
        child.ask_to_stop()
    problems = []
    for child in stopping:
        try:
            status = child.wait_stopped()
        except ChildError as error:
            problems.append(str(error))
            continue
        if status != 0:
            problems.append(f"{child.program.name} ended with status {status}{child.last_words()}")
    return problems


def wait_for_end(children: Iterable[Child], seconds: float | None = None) -> Child | None:
    """The first program that ends by itself; None when the time is over."""
    poll = select.poll()
    ends = {os.pidfd_open(child.process.pid): child for child in children}
    try:
        for descriptor in ends:
            poll.register(descriptor, select.POLLIN)
        return next(
            (ends[descriptor] for descriptor, _ in poll.poll(None if seconds is None else seconds * 1000)), None
        )
    finally:
        for descriptor in ends:
            os.close(descriptor)


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Within the block the first of STOP_SIGNALS raises KeyboardInterrupt; later ones do not disturb the stop."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        ignore_signals()
        raise KeyboardInterrupt

    with _handling(interrupt):
        yield


def ignore_signals() -> None:
    """Signals do not disturb from now on, until the end of the block of `interrupted_by_signals`."""
    for number in _heeded():
        signal.signal(number, lambda *_: None)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within the block signals change nothing: what is being stopped is stopped to its end."""
    with _handling(lambda *_: None):
        yield


@contextmanager
def postponed_signals() -> Iterator[None]:
    """A signal within the block takes effect behind it: what the block starts is known to whoever stops it."""
    taken: list[int] = []
    with _handling(lambda number, _: taken.append(number)):
        yield
    for number in taken[:1]:
        signal.raise_signal(number)


def _heeded() -> list[signal.Signals]:
    """Without those that whoever started this process has it ignore, as nohup does."""
    return [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _heeded()}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _open_log(path: Path | None) -> IO[str] | None:
    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=READY_ANSWER_SECONDS) as answer:  # noqa: S310 - the URL is a setting of ours, always http
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
