"""Network namespace to whatever must happen inside it, without the collector moving there.

A netlink socket keeps the namespace of its birth, and `setns` moves one thread only: so a thread of its own enters,
does the work, and ends. It needs CAP_SYS_ADMIN; a collector in its node's own namespace never comes here.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

_CLONE_NEWNET: Final = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

Result = TypeVar("Result")


class NotEnteredError(OSError):
    """The namespace can't be entered; the text is for the user."""

    def __str__(self) -> str:
        return (
            f"KNI_NETNS={self.filename} can't be entered ({self.strerror}): "
            "give the path of a network namespace, such as /run/netns/NAME"
        )


def run_inside(namespace: Path | None, work: Callable[[], Result]) -> Result:
    """What `work` returns, or raises, when run in a network namespace; None: in the caller's own.

    Raises: NotEnteredError, an OSError.
    """
    if namespace is None:
        return work()
    results: list[Result] = []
    failures: list[BaseException] = []

    def enter_and_work() -> None:
        try:
            enter(namespace)
            results.append(work())
        except BaseException as failure:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(failure)

    thread = threading.Thread(target=enter_and_work, name="namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def enter(namespace: Path) -> None:
    """Move the calling thread, for good. Raises: OSError."""
    try:
        descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotEnteredError(error.errno, error.strerror, str(namespace)) from error
    try:
        if _LIBC.setns(descriptor, _CLONE_NEWNET):
            code = ctypes.get_errno()
            raise NotEnteredError(code, os.strerror(code), str(namespace))
    finally:
        os.close(descriptor)
