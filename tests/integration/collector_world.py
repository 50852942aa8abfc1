"""A collector as a process of its own to what it sent: started, killed, stopped, its topics read back and checked."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from schemas import drop_batch, flow_batch
from schemas.batch import Batch
from schemas.topics import COLLECTORS, DROPS, FLOWS
from tests.kernel.collector_veths import Veths
from tests.programs import ENDS_WITH_TEST

ROOT = Path(__file__).parents[2]


@dataclass
class Collector:
    """One node's collector in a test's network namespace."""

    node: str
    bpffs: Path
    kafka: str
    veths: Veths
    logs: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    address: str = ""

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "KNI_NODE": self.node,
            "KNI_BPFFS": str(self.bpffs),
            "KNI_KAFKA": self.kafka,
            "KNI_NETNS": str(self.veths.path),
            "KNI_NETNS_DIR": str(self.logs / "netns"),
            "KNI_UPLINKS": "",
            "KNI_CONVERSATIONS": "4096",
            "KNI_RING_BYTES": str(1 << 20),
            "KNI_COLLECTOR_LISTEN": "127.0.0.1:0",
            **self.settings,
        }

    def command(self) -> list[str]:
        return [sys.executable, "-m", "collector"]

    def start(self) -> None:
        """Start, and wait until it counts."""
        with (self.logs / "collector.log").open("a") as log:
            self.process = subprocess.Popen(
                [*ENDS_WITH_TEST, *self.command()],
                env=self.environment(),
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith(f"ready collector {self.node} "), (self.logs / "collector.log").read_text()
        self.address = line.split()[-1]

    def refuse(self) -> str:
        """Start where it must refuse: its message; the exit status is 1, and the message all that a user sees."""
        done = subprocess.run(
            self.command(),
            env=self.environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 1, done
        assert done.stdout == ""
        messages = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        assert len(messages) == 1, done.stderr
        return messages[0]

    def kill(self) -> None:
        """End it as the kernel's out-of-memory killer would."""
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait(timeout=10)
        self.process.stdout.close()

    def stop(self, *, within_seconds: float = 60) -> None:
        """End it as Kubernetes would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=within_seconds) == 0, (self.logs / "collector.log").read_text()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def get(self, page: str) -> tuple[int, str]:
        """Status code and text of one of its pages."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{page}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.get("/status")[1]))

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        detach(self)


def detach(collector: Collector, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command that removes what a collector left."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys; from collector.detach import main; sys.exit(main({list(arguments)!r}))"],
        env=collector.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@dataclass
class Topics:
    """All that was sent to a Kafka, in order, as it stands there."""

    flows: dict[str, list[Batch]] = field(default_factory=dict)
    """By ring."""
    drops: dict[str, list[Batch]] = field(default_factory=dict)
    inventories: list[dict[str, Any]] = field(default_factory=list)


class Reader:
    """A consumer of what one node's collector sent, from the topics' beginning."""

    def __init__(self, kafka: str, node: str) -> None:
        self._node = node
        settings = {
            "bootstrap.servers": kafka,
            "group.id": "reader",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
            "log_level": 0,
        }
        self._consumer = Consumer(settings)
        self._asking = Consumer(settings)  # one that fetches answers such questions late
        self._next: dict[tuple[str, int], int] = {}
        self.topics = Topics()

    def read(self) -> Topics:
        """What is there by now."""
        ends = self._ends()
        self._consumer.assign([TopicPartition(*where, self._next.get(where, 0)) for where in ends])
        while any(self._next.get(where, 0) < end for where, end in ends.items()):
            message = self._consumer.poll(10)
            assert message is not None
            assert message.error() is None
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None
            assert partition is not None
            assert offset is not None
            self._next[topic, partition] = offset + 1
            self._take(message)
        return self.topics

    def _ends(self) -> dict[tuple[str, int], int]:
        ends = {}
        for topic in (FLOWS, DROPS, COLLECTORS):
            for partition in self._asking.list_topics(topic, timeout=10).topics[topic].partitions:
                ends[topic, partition] = self._asking.get_watermark_offsets(TopicPartition(topic, partition))[1]
        return ends

    def _take(self, message: Message) -> None:
        if message.key() != self._node.encode():
            return
        value = message.value() or b""
        if message.topic() == COLLECTORS:
            self.topics.inventories.append(json.loads(value))
            return
        is_flow = message.topic() == FLOWS
        read_batch = flow_batch.read_batch if is_flow else drop_batch.read_batch
        batch = read_batch(value, now_ns=time.time_ns())
        rings = self.topics.flows if is_flow else self.topics.drops
        rings.setdefault(batch.header.ring_id, []).append(batch)

    def close(self) -> None:
        self._consumer.close()
        self._asking.close()


def attached(veths: Veths, name: str) -> str:
    """What tc and ip show of an interface's hooks."""
    shown = [
        veths.inside("tc", "qdisc", "show", "dev", name),
        veths.inside("tc", "filter", "show", "dev", name, "ingress"),
        veths.inside("tc", "filter", "show", "dev", name, "egress"),
        veths.inside("ip", "-details", "link", "show", "dev", name),
    ]
    return "\n".join(line for line in "".join(shown).splitlines() if "clsact" in line or "bpf" in line or "xdp" in line)
