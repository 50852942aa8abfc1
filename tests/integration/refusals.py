"""A command that must not work to the one message that it says."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.programs import ENDS_WITH_TEST

ROOT = Path(__file__).parents[2]
PYTHON = (sys.executable, "-P", "-m")
READS_ALL = "+dac_read_search"
"""So that a user who is nobody finds this interpreter and these sources, wherever they are."""


def as_nobody(*capabilities: str) -> tuple[str, ...]:
    """A command's prefix: a user who is not root, with these capabilities and no others."""
    held = ",".join((READS_ALL, *capabilities))
    user = ("--reuid=65534", "--regid=65534", "--clear-groups")
    return (*ENDS_WITH_TEST, *user, f"--inh-caps={held}", f"--ambient-caps={held}", f"--bounding-set=-all,{held}")


def without(*capabilities: str) -> tuple[str, ...]:
    """A command's prefix: root, less some capabilities."""
    return ("setpriv", f"--bounding-set={','.join(f'-{name}' for name in capabilities)}", "--inh-caps=-all")


def environment(**settings: str) -> dict[str, str]:
    """This process's, without settings, but for those given; programs are found from any directory."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("KNI_", "KUBE"))}
    return {**plain, "PYTHONPATH": str(ROOT), **settings}


def refusal(command: Sequence[str], settings: dict[str, str], *, status: int = 1, within_seconds: float = 60) -> str:
    """The message of a command that refuses, in one line; but for progress it says nothing else, and no traceback."""
    done = subprocess.run(
        command, env=environment(**settings), capture_output=True, text=True, timeout=within_seconds, check=False
    )
    assert done.returncode == status, done
    assert [line for line in done.stdout.splitlines() if not line.startswith("…")] == [], done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    messages = [line for line in done.stderr.splitlines() if not line.startswith(("{", "…"))]
    assert messages, done
    return " ".join(messages)
