"""Programs to processes: starts, stops and awaits what runs in the lab's pods, through one process that forks them.

That process ends when this one does, however it ends: its standard input closes. It has a session of its own, so that
Ctrl-C reaches the lab alone, which then stops its programs in order.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from lab.commands import shielded
from lab.errors import LabError
from lab.programs.tasks import Program, to_line

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 15.0
STOP_SECONDS = 15.0


class Crew:
    """The running programs, by name."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._changed = threading.Condition()
        self._starting: set[str] = set()
        self._running: set[str] = set()
        self._failed: dict[str, int] = {}
        with log.open("wb") as file, shielded():
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-S", "-m", "lab.programs"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                cwd="/",
                env={"PYTHONPATH": str(ROOT)},
                start_new_session=True,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, name="crew", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 (it is a pipe: for the type checker)
        for line in self._process.stdout:
            verb, name, *rest = line.split()
            with self._changed:
                self._starting.discard(name)
                if verb == "ended":
                    self._running.discard(name)
                    if rest != ["0"]:
                        self._failed[name] = int(rest[0])
                self._changed.notify_all()
        with self._changed:
            self._starting.clear()
            self._running.clear()
            self._changed.notify_all()

    def _tell(self, line: str) -> None:
        if self._process.stdin is None or self._process.poll() is not None:
            raise LabError(f"the lab's programs have ended unexpectedly: see {self._log}")
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def start(self, programs: Iterable[Program]) -> None:
        """Start programs, none of which may be running, and wait until their servers listen.

        Raises:
            LabError: one failed at once, or takes too long.
        """
        with self._changed:
            names = set()
            for program in programs:
                names.add(program.me)
                self._starting.add(program.me)
                self._running.add(program.me)
                self._tell(f"start {to_line(program)}")
            if not self._changed.wait_for(lambda: not names & self._starting, START_SECONDS):
                late = ", ".join(sorted(names & self._starting))
                raise LabError(f"the lab's programs do not start within {START_SECONDS:.0f} s: {late}; see {self._log}")
            self._check(names)

    def stop(self, names: Iterable[str]) -> None:
        """Ask programs to finish, wait until all have, and check that they did it well.

        Raises:
            LabError: one does not end, or ended with an error.
        """
        wanted = set(names)
        with self._changed:
            for name in sorted(wanted & self._running):
                self._tell(f"stop {name}")
            if not self._changed.wait_for(lambda: not wanted & self._running, STOP_SECONDS):
                late = ", ".join(sorted(wanted & self._running))
                raise LabError(f"the lab's programs do not end within {STOP_SECONDS:.0f} s: {late}")
            self._check(wanted)

    def wait(self, name: str, timeout: float) -> bool:
        """Whether a program has ended by itself within `timeout` seconds.

        Raises:
            LabError: it ended with an error.
        """
        with self._changed:
            ended = self._changed.wait_for(lambda: name not in self._running, timeout)
            self._check({name})
            return ended

    def _check(self, names: set[str]) -> None:
        ended = sorted(names & self._failed.keys())
        if ended:
            failed = ", ".join(f"{name} (status {self._failed.pop(name)})" for name in ended)
            said = self._log.read_text().strip().splitlines()
            raise LabError(
                f"programs of the lab failed: {failed}: {said[-1] if said else 'they said nothing'} ({self._log})"
            )

    def close(self) -> None:
        """End all programs at once, and the process that runs them."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
