"""A lab id to the right to use it: who owns which lab on this machine, and the removal of dead ones' leftovers.

A lab's state directory names its owner by process id and start time, so that a process id used again is not mistaken
for the owner. A lab whose owner is gone is dead, and whoever starts a lab next removes what is left of it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lab import namespaces
from lab.errors import LabError
from lab.plan import NAMED, STATE

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = "owner"


def _started(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot, or None when there is no such process (proc(5), field 22)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *rest = text.rpartition(")")[2].split()
    return None if state in "ZX" else rest[18]


def owner_of(lab_id: str) -> int | None:
    """Process id of the living owner of a lab, or None when the lab is dead or was never there."""
    try:
        pid, started = (STATE / lab_id / OWNER).read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if _started(int(pid)) == started else None


@contextmanager
def _lock() -> Iterator[None]:
    STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (STATE / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def claim(lab_id: str) -> Path:
    """Remove the leftovers of dead labs, then make and return the state directory of a new one.

    Raises:
        LabError: a living process owns a lab of that id.
    """
    NAMED.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _lock():
        owner = owner_of(lab_id)
        if owner is not None:
            raise LabError(
                f"lab '{lab_id}' is already running (process {owner}): stop it, or choose another id with --id"
            )
        for directory in [path for path in STATE.iterdir() if path.is_dir()]:
            if owner_of(directory.name) is None:
                _remove(directory)
        directory = STATE / lab_id
        _remove(directory)  # namespaces of that name may be there without it
        directory.mkdir(mode=0o755)
        pid = os.getpid()
        (directory / OWNER).write_text(f"{pid} {_started(pid)}")
        return directory


def release(lab_id: str) -> None:
    """Remove a lab's namespaces and its state directory."""
    with _lock():
        _remove(STATE / lab_id)


def _remove(directory: Path) -> None:
    for path in NAMED.glob(f"kni-{directory.name}-*"):
        namespaces.remove(path)
    for path in directory.glob("*/netns/*"):
        namespaces.remove(path)
    shutil.rmtree(directory, ignore_errors=True)
