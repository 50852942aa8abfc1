"""A name to an embedded server in a process of its own, for as long as a `with` block lasts."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from standalone.processes import Child, ChildError, Program, python_module, stop_together

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def kafka_program(listen: str) -> Program:
    """Embedded Kafka."""
    return Program(
        "kafka", python_module("standalone", "kafka", "--listen", listen), has_ready_line=True, ready_seconds=20
    )


def clickhouse_program(listen: str, data: Path) -> Program:
    """Embedded ClickHouse on a data directory."""
    command = python_module("standalone", "clickhouse", "--listen", listen, "--data", str(data))
    return Program("clickhouse", command, has_ready_line=True, ready_seconds=60, stop_seconds=30)


def address_in(ready_line: str) -> str:
    """The address that a server's ready line tells."""
    return ready_line.rpartition(" ")[2]


@contextmanager
def embedded_kafka(listen: str = "127.0.0.1:0", *, logs: Path | None = None) -> Iterator[str]:
    """The bootstrap address of an embedded Kafka; port 0 chooses a free one."""
    with _running(kafka_program(listen), logs) as address:
        yield address


@contextmanager
def embedded_clickhouse(data: Path, *, listen: str = "127.0.0.1:0", logs: Path | None = None) -> Iterator[str]:
    """The URL of an embedded ClickHouse on a data directory; port 0 chooses a free one."""
    with _running(clickhouse_program(listen, data), logs) as address:
        yield f"http://{address}"


@contextmanager
def _running(program: Program, logs: Path | None) -> Iterator[str]:
    child = Child(program, logs)
    problems: list[str] = []
    try:
        yield address_in(child.wait_ready())
    finally:
        problems = stop_together([child])
    if problems:
        raise ChildError("; ".join(problems))
