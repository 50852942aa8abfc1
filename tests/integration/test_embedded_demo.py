"""`kubenetinsight demo` to its answers: the first thing a newcomer runs ends with rows, or says why not."""

import subprocess
from pathlib import Path

import pytest

from lab.plan import NAMED, STATE
from standalone.address import Address, UsageError, address_of, bound_socket
from standalone.demo import FIRST_COLLECTOR_PORT, LAB, Wish, parse
from standalone.lab_system import pins_of
from standalone.processes import python_module
from standalone.questions import QUESTIONS
from standalone.settings import child_environment
from tests.programs import run_in_order

DEMO_SECONDS = 180


def free_address() -> str:
    with bound_socket(Address("127.0.0.1", 0), "") as listener:
        return str(address_of(listener))


def run_demo(temporary: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A demo on free ports, with its temporary files where they can be counted."""
    names = ("KNI_KAFKA_LISTEN", "KNI_CLICKHOUSE_LISTEN", "KNI_AGGREGATOR_LISTEN")
    environment = child_environment({**{name: free_address() for name in names}, "TMPDIR": str(temporary)})
    return run_in_order(python_module("cli", "demo", *arguments), environment, within_seconds=DEMO_SECONDS)


def leftovers(temporary: Path) -> list[str]:
    """Everything that a demo could leave behind."""
    namespaces = [path.name for path in NAMED.iterdir() if f"-{LAB}-" in path.name]
    paths = [path for path in (STATE / LAB, pins_of(LAB)) if path.exists()]
    return [*namespaces, *map(str, paths), *map(str, temporary.iterdir())]


def test_a_short_demo_ends_with_summary_and_answers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = run_demo(tmp_path, "--duration", "8")
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in ("Totals", "Completeness", "shop/web", "data/db", "NETFILTER_DROP", "SOCKET_RCVBUFF", *QUESTIONS):
        assert expected in done.stdout
    assert done.stdout.count('kubenetinsight sql "SELECT') == 3
    assert leftovers(tmp_path) == []


def test_a_collector_that_cannot_listen_ends_the_demo_with_its_message_and_leaves_only_the_log(tmp_path: Path) -> None:
    with bound_socket(Address("127.0.0.1", FIRST_COLLECTOR_PORT), ""):
        done = run_demo(tmp_path, "--duration", "8")
    assert done.returncode == 1
    assert "kubenetinsight demo: node-1 ended with status 1 before it was ready" in done.stderr
    assert f"127.0.0.1:{FIRST_COLLECTOR_PORT}" in done.stderr
    (kept,) = leftovers(tmp_path)
    assert (Path(kept) / "logs" / "node-1.log").exists()


def test_the_command_line_says_how_long_and_whether_everything_stays_up() -> None:
    assert parse([]) == Wish(30, is_kept=False, data=None)
    assert parse(["--duration", "60", "--keep", "--data", "x"]) == Wish(60, is_kept=True, data=Path("x"))


@pytest.mark.parametrize("text", ["0", "-1", "nan", "1e9"])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write a number of seconds from 1 to 86400"):
        parse([f"--duration={text}"])
