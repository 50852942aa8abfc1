"""Settings to a running system: Kafka and ClickHouse, then topics, tables, collectors and aggregator.

Collectors start before there is an aggregator, since loading takes them a while and Kafka is their waiting room. Down
goes along the data's path: collectors make their last export, the aggregator drains the topics to their ends, then
Kafka and ClickHouse stop. `up`, `demo` and the end-to-end tests all start the system here.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schemas import topics
from standalone import preflight
from standalone.kafka import create_topics, create_topics_on_a_server
from standalone.processes import (
    Child,
    ChildError,
    Program,
    postponed_signals,
    python_module,
    stop_together,
    undisturbed,
)
from standalone.servers import address_in, clickhouse_program, kafka_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from standalone.settings import Settings

AGGREGATOR_STOP_SECONDS = 45.0  # it drains what is in the topics for up to 30 s
COLLECTOR_STOP_SECONDS = 20.0
TABLES_SECONDS = 60.0
# Each exports to the next one: what was counted is stored when the last has stopped.
STOP_ORDER = ("collectors", "aggregator", "kafka", "clickhouse")


@dataclass(frozen=True, slots=True)
class Collector:
    """One node's collector: the KNI_ settings of its own, without Kafka's address and `listen`."""

    name: str
    listen: str
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall run: the machine's settings, its collectors, and what is special to the aggregator."""

    settings: Settings
    collectors: Sequence[Collector]
    aggregator: Mapping[str, str] = field(default_factory=dict)
    logs: Path | None = None


@dataclass(frozen=True, slots=True)
class System:
    """What runs, and where it listens; the end of any of its `children` is the end of the system."""

    kafka: str
    clickhouse: str
    aggregator: Child
    collectors: tuple[Child, ...]
    children: tuple[Child, ...]

    @property
    def environment(self) -> dict[str, str]:
        """The settings with which the command line finds this system."""
        return {"KNI_KAFKA": self.kafka, "KNI_CLICKHOUSE": self.clickhouse}


@contextmanager
def running_system(wanted: Wanted, *, tell: Callable[[str], None] = lambda _: None) -> Iterator[System]:
    """The system, ready, for as long as the block lasts; `tell` hears what is being waited for.

    Call it from the main thread: programs end when the thread that started them does.

    Raises:
        UsageError: a collector or the aggregator would refuse to start; nothing was started.
        ChildError: a program did not get ready, or did not stop as it should; everything else is stopped then, too.
    """
    _check(wanted)
    crew = Crew(wanted.logs)
    try:
        tell("Kafka and ClickHouse")
        kafka, clickhouse = _start_servers(crew, wanted.settings)
        tell("topics, tables, collectors and aggregator")
        _create_topics(kafka, is_embedded=wanted.settings.kafka is None)
        collectors = crew.start("collectors", *(_collector(each, kafka) for each in wanted.collectors))
        environment = {"KNI_KAFKA": kafka, "KNI_CLICKHOUSE": clickhouse, **wanted.aggregator}
        _apply_tables(environment, wanted.logs)
        (aggregator,) = crew.start("aggregator", _aggregator(wanted.settings, environment))
        for child in (*collectors, aggregator):
            child.wait_ready()
        yield System(kafka, clickhouse, aggregator=aggregator, collectors=collectors, children=crew.children)
    finally:
        with undisturbed():
            tell("everything stops: collectors, aggregator, Kafka, ClickHouse")
            problems = crew.stop()
    if problems:
        raise ChildError("\n".join(problems))


def _check(wanted: Wanted) -> None:
    """Raises: UsageError, where this process's rights, the kernel or a setting would keep a program from starting."""
    settings = wanted.settings
    kafka = settings.kafka or settings.kafka_listen
    clickhouse = settings.clickhouse or f"http://{settings.clickhouse_listen}"
    environment = {"KNI_KAFKA": kafka, "KNI_CLICKHOUSE": clickhouse, **wanted.aggregator}
    preflight.check(
        collectors=[_collector(each, kafka).settings for each in wanted.collectors],
        aggregator=_aggregator(settings, environment).settings,
    )


class Crew:
    """Started programs by their place in the stop order."""

    def __init__(self, logs: Path | None) -> None:
        self._logs = logs
        self._stages: dict[str, list[Child]] = {stage: [] for stage in STOP_ORDER}

    @property
    def children(self) -> tuple[Child, ...]:
        """Every program that was started."""
        return tuple(child for stage in self._stages.values() for child in stage)

    def start(self, stage: str, *programs: Program) -> tuple[Child, ...]:
        """Start programs that stop together; none is waited for."""
        started = self._stages[stage]
        with postponed_signals():
            started.extend(Child(program, self._logs) for program in programs)  # if one cannot, those before it are in
        return tuple(started)

    def stop(self) -> list[str]:
        """Stop all in order; what went wrong, in words."""
        return [problem for stage in STOP_ORDER for problem in stop_together(self._stages[stage])]


def _start_servers(crew: Crew, settings: Settings) -> tuple[str, str]:
    """Kafka's bootstrap address and ClickHouse's URL: the given ones, embedded ones where none is given."""
    clickhouse: tuple[Child, ...] = ()
    kafka: tuple[Child, ...] = ()
    if settings.clickhouse is None:
        clickhouse = crew.start(
            "clickhouse", clickhouse_program(settings.clickhouse_listen, settings.data / "clickhouse")
        )
    if settings.kafka is None:
        kafka = crew.start("kafka", kafka_program(settings.kafka_listen))
    return (
        settings.kafka or address_in(kafka[0].wait_ready()),
        settings.clickhouse or f"http://{address_in(clickhouse[0].wait_ready())}",
    )


def _create_topics(kafka: str, *, is_embedded: bool) -> None:
    if is_embedded:
        create_topics(kafka, topics.ALL)
    else:
        create_topics_on_a_server(kafka, topics.ALL, compacted=topics.COMPACTED)


def _apply_tables(environment: Mapping[str, str], logs: Path | None) -> None:
    """Create or update ClickHouse's tables: all statements can be repeated."""
    program = Program("tables", python_module("aggregator", "schema"), environment, stop_seconds=TABLES_SECONDS)
    child = Child(program, logs)
    if child.wait_stopped() != 0:
        raise ChildError(f"ClickHouse's tables could not be created{child.last_words()}")


def _aggregator(settings: Settings, environment: Mapping[str, str]) -> Program:
    listen = settings.aggregator_listen
    return Program(
        "aggregator",
        python_module("aggregator"),
        {**environment, "KNI_AGGREGATOR_LISTEN": listen},
        ready_url=f"http://{listen}/readyz",
        stop_seconds=AGGREGATOR_STOP_SECONDS,
    )


def _collector(collector: Collector, kafka: str) -> Program:
    return Program(
        collector.name,
        python_module("collector"),
        {**collector.settings, "KNI_KAFKA": kafka, "KNI_COLLECTOR_LISTEN": collector.listen},
        ready_url=f"http://{collector.listen}/readyz",
        stop_seconds=COLLECTOR_STOP_SECONDS,
    )
