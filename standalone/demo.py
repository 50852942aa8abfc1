"""A small cluster on this machine to answers: `kubenetinsight demo`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.world import World
from standalone.address import UsageError
from standalone.display import Display
from standalone.lab_system import watched_lab
from standalone.processes import (
    ChildError,
    ignore_signals,
    interrupted_by_signals,
    postponed_signals,
    python_module,
    wait_for_end,
)
from standalone.questions import EXAMPLE, QUESTIONS
from standalone.settings import Settings, child_environment, from_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from standalone.system import System

LAB = "demo"
FIRST_COLLECTOR_PORT = 9471
TICK_SECONDS = 0.5
SETTLE_SECONDS = 1.5  # longer than a flush takes
SETTLE_CHECKS = 10
INTERRUPTED = 130
COUNT = "SELECT count() FROM kubenetinsight.flows"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for; without `data` the rows go when the demo ends."""

    seconds: float
    is_kept: bool
    data: Path | None


def parse(arguments: Sequence[str]) -> Wish:
    """The command line.

    Raises:
        UsageError: a duration that is none.
    """
    parser = argparse.ArgumentParser(
        prog="kubenetinsight demo", description="Run the whole system on a small cluster of network namespaces."
    )
    parser.add_argument(
        "--duration", type=_number, default=30, metavar="SECONDS", help="how long traffic runs; default: 30"
    )
    parser.add_argument("--keep", action="store_true", help="leave everything running afterwards, until Ctrl-C")
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep ClickHouse's data there, even afterwards")
    options = parser.parse_args(list(arguments))
    if not 1 <= options.duration <= 86400:
        raise UsageError(f"--duration {options.duration:g}: write a number of seconds from 1 to 86400")
    return Wish(options.duration, options.keep, options.data)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds: write one from 1 to 86400") from error


class Demo:
    """A running lab and system, shown on a display."""

    def __init__(self, display: Display, world: World, *, system: System) -> None:
        self._display = display
        self._world = world
        self._system = system

    def watch(self, seconds: float) -> None:
        """Let traffic run, with a progress display.

        Raises:
            ChildError: a program of the system ended by itself.
        """
        with postponed_signals():
            self._world.start_traffic()

        def tick() -> str:
            self._wait(TICK_SECONDS)
            return f"{self._rows():,} flow records"

        self._display.wait("traffic runs", seconds=seconds, tick=tick)

    def settle(self) -> None:
        """Stop traffic and wait until what it was has become rows."""
        self._display.step("traffic ends, the last records arrive")
        self._world.stop_traffic()
        before = -1
        for _ in range(SETTLE_CHECKS):
            now = self._rows()
            if now == before:
                return
            before = now
            self._wait(SETTLE_SECONDS)

    def show(self) -> None:
        """The summary and a few questions with their answers; each can be asked again while everything runs.

        Raises:
            ChildError: no rows arrived.
        """
        if self._rows() == 0:
            raise ChildError("no rows arrived in ClickHouse")
        self._display.say("")
        self._ask("summary")
        for question, sql in QUESTIONS.items():
            self._display.say(f"\n{question}", style="bold")
            self._display.say(f'  kubenetinsight sql "{sql}"', style="dim")
            self._ask("sql", sql)

    def keep(self) -> None:
        """Leave everything running until a signal.

        Raises:
            ChildError: a program of the system ended by itself.
        """
        lines = (
            "",
            f"Everything stays up until Ctrl-C: Kafka on {self._system.kafka}, ClickHouse on {self._system.clickhouse}",
            "  kubenetinsight summary",
            "  kubenetinsight status",
            f"  curl '{self._system.clickhouse}/?database=kubenetinsight' -d '{EXAMPLE}'",
            f"  the lab's Kubernetes: KUBECONFIG={self._world.kubeconfig}",
        )
        self._display.say("\n".join(lines))
        self._wait(None)

    def _wait(self, seconds: float | None) -> None:
        ended = wait_for_end(self._system.children, seconds)
        if ended is not None:
            raise ChildError(f"{ended.program.name} ended by itself{ended.last_words()}")

    def _rows(self) -> int:
        url = f"{self._system.clickhouse}/?{urllib.parse.urlencode({'query': COUNT})}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - an address of ours
            return int(answer.read())

    def _ask(self, *arguments: str) -> None:
        command = python_module("cli", *arguments)
        done = subprocess.run(command, env=child_environment(self._system.environment), check=False)
        if done.returncode != 0:
            raise ChildError(f"kubenetinsight {arguments[0]} failed: its message stands above")


def run(wish: Wish, settings: Settings, *, display: Display) -> int:
    """The demo from an empty machine back to an empty machine; the exit status."""
    is_shown = False
    with closing(display), interrupted_by_signals(), ExitStack() as stack:
        try:
            display.step("a cluster of network namespaces")
            with postponed_signals():  # half a namespace would outlive the lab
                world = stack.enter_context(World(LAB, time.time))  # noqa: TID251 - wiring: its objects need a date
            settings = replace(settings, data=wish.data or stack.enter_context(_scratch()))
            system = stack.enter_context(_system(world, settings, tell=display.step))
            demo = Demo(display, world, system=system)
            demo.watch(wish.seconds)
            if not wish.is_kept:
                demo.settle()
            demo.show()
            is_shown = True
            if wish.is_kept:
                demo.keep()
        except KeyboardInterrupt:
            display.say("interrupted")
        finally:
            ignore_signals()
    return 0 if is_shown else INTERRUPTED


def main(arguments: Sequence[str]) -> int:
    """`kubenetinsight demo`; the exit status."""
    try:
        return run(parse(arguments), from_environment(), display=Display())
    except (UsageError, ChildError, LabError) as error:
        sys.stderr.write(f"kubenetinsight demo: {error}\n")
        return 1


def _system(world: World, settings: Settings, *, tell: Callable[[str], None]) -> AbstractContextManager[System]:
    listens = [f"127.0.0.1:{FIRST_COLLECTOR_PORT + number}" for number in range(len(world.nodes))]
    return watched_lab(world, settings, listens=listens, logs=settings.data / "logs", tell=tell)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A directory that goes when all went well; after a failure it stays, the message names a log in it."""
    directory = Path(tempfile.mkdtemp(prefix="kubenetinsight-"))
    yield directory
    shutil.rmtree(directory)
