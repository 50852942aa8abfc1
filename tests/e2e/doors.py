"""A running system to what each of its doors says: command, topics, examples, metrics."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from schemas import topics
from tests.programs import ENDS_WITH_TEST


@dataclass(frozen=True)
class Doors:
    """What was said while the system was up."""

    status: subprocess.CompletedProcess[str]
    summary: subprocess.CompletedProcess[str]
    windows: list[dict[str, object]]
    """Every message of the windows topic."""
    flows: list[bytes]
    """Every message of the flow topic."""
    windows_example: list[str]
    flows_example: list[str]
    collector_metrics: str
    aggregator_metrics: str


def visit(environment: Mapping[str, str], root: Path, *, logs: Path) -> Doors:
    """Ask at every door once."""
    environment = {**os.environ, **environment}
    bootstrap = environment["KNI_KAFKA"]
    return Doors(
        status=_command(environment, "status", "-o", "json"),
        summary=_command(environment, "summary"),
        windows=[json.loads(value) for value in read_topic(bootstrap, topics.WINDOWS)],
        flows=read_topic(bootstrap, topics.FLOWS),
        windows_example=_first_lines(root / "examples/windows_as_json.py", bootstrap, logs=logs),
        flows_example=_first_lines(root / "examples/flows_as_arrow.py", bootstrap, logs=logs),
        collector_metrics=_get("http://127.0.0.1:19471/metrics"),
        aggregator_metrics=_get("http://127.0.0.1:9466/metrics"),
    )


def read_topic(bootstrap: str, topic: str) -> list[bytes]:
    """All messages of a topic up to its end now."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "tests", "enable.auto.commit": False})
    found = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    partitions = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in found]
    left = sum(high - low for low, high in (consumer.get_watermark_offsets(p, timeout=10) for p in partitions))
    consumer.assign(partitions)
    values: list[bytes] = []
    while len(values) < left:
        message = consumer.poll(10)
        assert message is not None, f"{left - len(values)} messages of {left} did not come"
        values.append(message.value() or b"")
    consumer.close()
    return values


def _command(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def _first_lines(program: Path, bootstrap: str, *, logs: Path) -> list[str]:
    with (logs / f"{program.stem}.log").open("w") as log:
        running = subprocess.Popen(
            [*ENDS_WITH_TEST, sys.executable, str(program), bootstrap], stdout=subprocess.PIPE, stderr=log, text=True
        )
        with running:
            assert running.stdout is not None
            lines = [running.stdout.readline() for _ in range(5)]
            running.kill()
    return lines


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - a fixed address on the loopback
        return str(answer.read().decode())
