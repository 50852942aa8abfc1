"""An interface to a pcap file: tcpdump in a namespace, ready when it says so, and proof that it missed nothing."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab.commands import in_namespace
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUFFER_KIB = 32768
STOP_SECONDS = 10.0


@contextmanager
def capture(namespace: Path, interface: str, *, file: Path, snap_length: int) -> Iterator[Path]:
    """Write what crosses an interface to `file` (pcap) while the context lasts; the file is whole when it ends.

    Raises:
        LabError: tcpdump cannot start, or the kernel dropped packets before tcpdump read them.
    """
    if shutil.which("tcpdump") is None:
        raise LabError("captures need tcpdump, which is not in PATH: apt-get install tcpdump")
    # A small packet buffer's worth of delay would lose the end: immediate mode, and the file is flushed by packet.
    options = ["-n", "--immediate-mode", "-U", "-Z", "root", "-B", str(BUFFER_KIB), "-s", str(snap_length)]
    command = ["setpriv", "--pdeathsig", "KILL", "tcpdump", "-i", interface, *options, "-w", str(file)]
    process = subprocess.Popen(
        in_namespace(namespace, *command), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None  # noqa: S101 (it is a pipe: for the type checker)
    with process:
        said = ""
        for line in process.stderr:
            said += line
            if "listening on" in line:
                break
        else:
            raise LabError(f"tcpdump cannot capture on {interface} in namespace {namespace.name}: {said.strip()}")
        try:
            yield file
        finally:
            process.send_signal(signal.SIGINT)
            said = process.stderr.read()
            process.wait(STOP_SECONDS)
    missed = re.search(r"(\d+) packets? dropped by kernel", said)
    if missed is None or missed[1] != "0":
        raise LabError(
            f"the capture on {interface} is not complete: tcpdump says '{said.strip()}'; capture less at a time"
        )
