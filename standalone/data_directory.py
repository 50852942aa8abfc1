"""Path to a data directory that this process alone uses."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from standalone.address import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def owned(directory: Path) -> Iterator[Path]:
    """The directory, made if it is missing and locked while the block lasts.

    Raises:
        UsageError: it cannot be made or written, or another process holds it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "owner").open("a+")
    except OSError as error:
        raise UsageError(
            f"cannot use the data directory {directory}: {error.strerror}. "
            "Choose another with --data, or make it writable"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise UsageError(
                f"the data directory {directory} is in use by process {holder}. "
                "Stop it, or choose another directory with --data"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield directory.resolve()


def emptied(directory: Path) -> Path:
    """The directory, there and empty, whatever a killed process left in it."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory
