"""A program that a test starts to its end: with the test, even when pytest is killed, and in order if it tidies up."""

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

ENDS_WITH_TEST = ("setpriv", "--pdeathsig", "TERM")
"""A command's prefix: when pytest dies, the kernel asks the program to stop."""
STOP_SECONDS = 60


def stop(process: "subprocess.Popen[Any]") -> None:
    """Ask a program to stop, if it runs, and wait until it has tidied up."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    finally:
        process.kill()


def run_in_order(
    command: Sequence[str], environment: Mapping[str, str], *, within_seconds: float
) -> "subprocess.CompletedProcess[str]":
    """What a program said and its status; when the test is interrupted or the time is over, it is asked to stop."""
    with subprocess.Popen(
        (*ENDS_WITH_TEST, *command), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said, problems = process.communicate(timeout=within_seconds)
        finally:
            stop(process)
    return subprocess.CompletedProcess(command, process.returncode, said, problems)
