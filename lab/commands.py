"""Command lines to their effect in a namespace: runs ip, bridge and nft, and turns a failure into one message."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PACKAGES = {
    "ip": "iproute2",
    "bridge": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}


def check_requirements() -> None:
    """Raise LabError unless this process may build a lab and the programs for it are installed."""
    if os.geteuid() != 0:
        raise LabError(
            "the lab makes network namespaces, and this user may not: run it as root (sudo kubenetinsight lab)"
        )
    missing = sorted({package for program, package in PACKAGES.items() if shutil.which(program) is None})
    if missing:
        raise LabError(f"the lab needs programs that are not in PATH: apt-get install {' '.join(missing)}")


@contextmanager
def shielded() -> Iterator[None]:
    """Hold back requests to stop from this thread and from what it starts meanwhile, which inherits that.

    Ctrl-C reaches the whole foreground group: half of a command's work would be done. A session of its own does not
    help, because a new process is in the old one for a moment.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_namespace(path: Path, *command: str) -> list[str]:
    """The command line that runs `command` in the namespace bound to `path`.

    It is nsenter and not `ip netns exec`, which would also copy the mounts and so keep removed namespaces alive.
    """
    return ["nsenter", f"--net={path}", "--", *command]


def feed(path: Path, command: tuple[str, ...], *, lines: Iterable[str]) -> None:
    """Run `command` in a namespace with `lines` on its standard input.

    Raises:
        LabError: it failed; the message carries what it said.
    """
    _run(path, command, text="\n".join(lines) + "\n")


def ask(path: Path, *command: str) -> str:
    """What `command` prints in a namespace.

    Raises:
        LabError: it failed; the message carries what it said.
    """
    return _run(path, command, text="")


def _run(path: Path, command: tuple[str, ...], *, text: str) -> str:
    with shielded():
        done = subprocess.run(in_namespace(path, *command), input=text, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())
        raise LabError(
            f"'{' '.join(command)}' failed in namespace {path.name}: {said}; "
            "the lab needs a kernel with veth, bridge, VXLAN and nftables NAT"
        )
    return done.stdout


def configure(path: Path, lines: Iterable[str]) -> None:
    """Run a batch of `ip` commands in a namespace."""
    feed(path, ("ip", "-batch", "-"), lines=lines)
