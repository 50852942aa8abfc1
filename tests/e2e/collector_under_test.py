"""A node to its collector as a process of its own: started, killed, refused, stopped, and what it leaves."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collector.pins import Pins
from lab.commands import ask
from tests.e2e.node_pair import Node
from tests.programs import ENDS_WITH_TEST

ROOT = Path(__file__).parents[2]


@dataclass
class CollectorUnderTest:
    """One node's collector; `directory` holds its log and its BPF file system."""

    node: Node
    kafka: str
    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    address: str = ""

    @property
    def bpffs(self) -> Path:
        return self.directory / "bpf"

    @property
    def log(self) -> Path:
        return self.directory / f"{self.node.name}.log"

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "KNI_NODE": self.node.name,
            "KNI_BPFFS": str(self.bpffs),
            "KNI_KAFKA": self.kafka,
            "KNI_NETNS": str(self.node.netns),
            "KNI_NETNS_DIR": str(self.node.netns_directory),
            "KNI_UPLINKS": "u0=xdp",
            "KNI_CONVERSATIONS": "4096",
            "KNI_RING_BYTES": str(1 << 20),
            "KNI_COLLECTOR_LISTEN": "127.0.0.1:0",
            **self.settings,
        }

    def launch(self, *command: str) -> None:
        """Start it, or another program in its place, without waiting."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*ENDS_WITH_TEST, sys.executable, "-m", *(command or ("collector",))],
                env=self.environment(),
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Until it counts."""
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith(f"ready collector {self.node.name} "), self.log.read_text()[-2000:]
        self.address = line.split()[-1]

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def kill(self) -> None:
        """End it as the kernel's out-of-memory killer would."""
        assert self.process is not None
        self.process.kill()
        self.wait_ended(-signal.SIGKILL)

    def stop(self) -> None:
        """End it as Kubernetes would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.wait_ended(0)

    def wait_ended(self, status: int) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        assert self.process.wait(timeout=50) == status, self.log.read_text()[-2000:]
        self.process.stdout.close()

    def refusal(self) -> str:
        """What a second one says that is started beside it; its exit status must not be 0."""
        done = subprocess.run(
            [sys.executable, "-m", "collector"],
            env=self.environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode != 0, done
        assert done.stdout == ""
        return done.stderr

    def status(self) -> dict[str, Any]:
        """What its page /status tells."""
        with urllib.request.urlopen(f"http://{self.address}/status", timeout=10) as answer:
            return dict(json.loads(answer.read()))

    @contextmanager
    def pins(self) -> Iterator[Pins]:
        """What stands in the kernel, whether a process lives or not."""
        (layout,) = (self.bpffs / self.node.name).glob("v*")
        opened = Pins(layout)
        try:
            yield opened
        finally:
            opened.close()

    def left_behind(self) -> list[str]:
        """What is still attached, pinned or mounted."""
        left = []
        for interface in ("v0", "u0"):
            for direction in ("ingress", "egress"):
                left += ask(self.node.netns, "tc", "filter", "show", "dev", interface, direction).splitlines()
            left += [
                line
                for command in (("tc", "qdisc", "show"), ("ip", "-details", "link", "show"))
                for line in ask(self.node.netns, *command, "dev", interface).splitlines()
                if "clsact" in line or "xdp/id" in line
            ]
        left += [str(path) for path in self.bpffs.rglob("*") if "." not in path.name]
        return left + ([f"{self.bpffs} is mounted"] if self.bpffs.is_mount() else [])

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        subprocess.run(
            [sys.executable, "-m", "cli", "detach"],
            env=self.environment(),
            cwd=ROOT,
            check=False,
            capture_output=True,
            timeout=50,
        )
