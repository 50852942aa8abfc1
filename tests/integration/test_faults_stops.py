"""Ctrl-C, a hang-up or SIGKILL at any moment of `up` and `demo` to nothing: no process, namespace or pin stays."""

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.plan import NAMED, STATE
from standalone.demo import LAB
from standalone.lab_system import pins_of, remove_pins
from standalone.processes import python_module
from standalone.settings import child_environment
from tests.deadline import Eventually
from tests.integration.kafka_broker import free_ports
from tests.programs import ENDS_WITH_TEST, stop

NEAR, FAR = f"knis{os.getpid()}", f"knit{os.getpid()}"
NODE = "stop-test"
PINS = Path(f"/run/kubenetinsight/bpf-stop-test-{os.getpid()}")
TRAFFIC = "its programs keep ledgers"
LEDGERS = STATE / LAB / "ledger"
STOP_SECONDS = 60
LISTENS = ("KNI_KAFKA_LISTEN", "KNI_CLICKHOUSE_LISTEN", "KNI_COLLECTOR_LISTEN", "KNI_AGGREGATOR_LISTEN")


@dataclass
class Run:
    """A command that runs, and what can be seen of it."""

    process: subprocess.Popen[bytes]
    log: Path
    mark: str
    """In the environment of it and of all that it starts."""

    def has_said(self, text: str) -> bool:
        assert self.process.poll() is None or text in self.said(), self.said()
        return text in self.said()

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def processes(self) -> list[str]:
        """Command lines of all that carry its mark."""
        return [
            (path / "cmdline").read_text().replace("\0", " ")
            for path in Path("/proc").iterdir()
            if path.name.isdecimal() and self.mark.encode() in environment_of(path)
        ]

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(number)


def environment_of(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


@pytest.fixture
def wire() -> Iterator[None]:
    subprocess.run(["ip", "link", "add", NEAR, "type", "veth", "peer", "name", FAR], check=True)
    try:
        subprocess.run(["ip", "link", "set", NEAR, "up"], check=True)
        yield
    finally:
        subprocess.run(["ip", "link", "delete", NEAR], check=True)
        remove_pins(PINS)


@pytest.fixture
def runs() -> Iterator[list[Run]]:
    """What was started: stopped at the end if it still runs."""
    made: list[Run] = []
    yield made
    for run in made:
        stop(run.process)


def start(runs: list[Run], directory: Path, *words: str, **settings: str) -> Run:
    """Start a command of the project on free ports, with its temporary files in the directory."""
    (directory / "temporary").mkdir(exist_ok=True)
    log = directory / f"{len(runs)}.log"
    mark = f"KNI_TEST_MARK={os.getpid()}-{len(runs)}-{directory.name}"
    name, _, value = mark.partition("=")
    listens = dict(zip(LISTENS, (f"127.0.0.1:{port}" for port in free_ports(4)), strict=True))
    environment = child_environment({**listens, name: value, "TMPDIR": str(directory / "temporary"), **settings})
    with log.open("wb") as output:
        command = (*ENDS_WITH_TEST, *python_module("cli", *words))
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    runs.append(Run(process, log, mark))
    return runs[-1]


def start_up(runs: list[Run], directory: Path) -> Run:
    settings = {
        "KNI_NODE": NODE,
        "KNI_PODS": "",
        "KNI_KUBERNETES": "none",
        "KNI_BPFFS": str(PINS),
        "KNI_DRAIN_SECONDS": "5",
    }
    return start(runs, directory, "up", "--interface", f"{NEAR}=tc", "--data", str(directory / "data"), **settings)


def left_by_up() -> list[str]:
    """Filters and pins."""
    shown = [
        subprocess.run(["tc", *words, "dev", NEAR, *where], capture_output=True, text=True, check=True).stdout
        for words, where in (
            (("qdisc", "show"), ()),
            (("filter", "show"), ("ingress",)),
            (("filter", "show"), ("egress",)),
        )
    ]
    lines = [line for line in "".join(shown).splitlines() if "clsact" in line or "bpf" in line]
    return lines + [f"{PINS} is mounted"] * PINS.is_mount()


def left_by_demo(directory: Path) -> list[str]:
    """Namespaces, state, pins and temporary files."""
    names = [path.name for path in NAMED.iterdir() if path.name.startswith(f"kni-{LAB}-")] if NAMED.exists() else []
    paths = [path for path in (STATE / LAB, pins_of(LAB)) if path.exists()]
    return [*names, *map(str, paths), *map(str, (directory / "temporary").iterdir())]


@pytest.mark.usefixtures("wire")
@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("Kafka and ClickHouse", signal.SIGINT),
        ("topics, tables, collectors and aggregator", signal.SIGHUP),
        ('"event":"loading"', signal.SIGINT),
        ('"event":"attached"', signal.SIGTERM),
        ("Ctrl-C stops everything", signal.SIGINT),
    ],
    ids=["servers start", "terminal closes", "collector loads", "collector attached", "all runs"],
)
def test_up_that_is_interrupted_leaves_nothing(
    runs: list[Run], tmp_path: Path, *, eventually: Eventually, moment: str, number: signal.Signals
) -> None:
    run = start_up(runs, tmp_path)
    eventually(lambda: run.has_said(moment), within_seconds=90)
    run.interrupt(number)
    assert run.process.wait(STOP_SECONDS) == 0, run.said()
    assert (left_by_up(), run.processes()) == ([], []), run.said()
    assert "Traceback" not in run.said()


@pytest.mark.usefixtures("wire")
def test_after_sigkill_of_up_its_programs_end_and_the_next_one_starts_and_stops_as_ever(
    runs: list[Run], tmp_path: Path, *, eventually: Eventually
) -> None:
    killed = start_up(runs, tmp_path)
    eventually(lambda: killed.has_said("Ctrl-C stops everything"), within_seconds=90)
    killed.process.kill()
    eventually(lambda: killed.processes() == [], within_seconds=STOP_SECONDS)
    assert [line for line in left_by_up() if "bpf" in line and "mounted" not in line] == [], "no filter stays"
    run = start_up(runs, tmp_path)
    eventually(lambda: run.has_said("Ctrl-C stops everything"), within_seconds=90)
    run.interrupt()
    eventually(lambda: run.has_said("everything stops"), within_seconds=20)
    run.interrupt()  # by somebody who is impatient
    assert run.process.wait(STOP_SECONDS) == 0, run.said()
    assert (left_by_up(), run.processes()) == ([], []), run.said()


@pytest.mark.parametrize(
    "moment",
    ["a cluster of network namespaces", "Kafka and ClickHouse", "topics, tables", TRAFFIC],
    ids=["namespaces are made", "servers start", "collectors load", "traffic runs"],
)
def test_a_demo_that_is_interrupted_leaves_nothing(
    runs: list[Run], tmp_path: Path, *, eventually: Eventually, moment: str
) -> None:
    run = start(runs, tmp_path, "demo", "--duration", "60")
    eventually(lambda: any(LEDGERS.glob("*.json")) if moment is TRAFFIC else run.has_said(moment), within_seconds=90)
    run.interrupt()
    assert run.process.wait(STOP_SECONDS) == 130, run.said()
    assert (left_by_demo(tmp_path), run.processes()) == ([], []), run.said()
    assert "Traceback" not in run.said()
