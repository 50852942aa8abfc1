"""Programs to their ends: in order, within their time, and with the one that started them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from standalone.processes import (
    Child,
    ChildError,
    Program,
    interrupted_by_signals,
    python_module,
    stop_together,
    wait_for_end,
)
from standalone.settings import child_environment
from tests.deadline import Eventually
from tests.programs import ENDS_WITH_TEST

OBEYS = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('ready x', flush=True); signal.pause()"
IGNORES = (
    "import signal; signal.signal(15, signal.SIG_IGN); print('ready x', flush=True); signal.pause(); signal.pause()"
)
PARENT = """
import signal, sys
from pathlib import Path
from standalone.processes import Child, Program
from standalone.servers import clickhouse_program, kafka_program
programs = [kafka_program("127.0.0.1:0"), clickhouse_program("127.0.0.1:0", Path(sys.argv[1]))]
children = [Child(program, None) for program in programs]
for child in children:
    child.wait_ready()
print(*(child.process.pid for child in children), flush=True)
signal.pause()
"""


def program(code: str, *, stop_seconds: float = 5) -> Program:
    return Program(
        "program", (sys.executable, "-c", code), has_ready_line=True, ready_seconds=5, stop_seconds=stop_seconds
    )


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_program_in_a_session_of_its_own_stops_when_it_is_asked(tmp_path: Path) -> None:
    child = Child(program(OBEYS), tmp_path)
    assert child.wait_ready() == "ready x"
    assert os.getsid(child.process.pid) == child.process.pid
    assert stop_together([child]) == []


def test_a_program_that_does_not_stop_in_its_time_is_killed_and_that_is_told() -> None:
    children = [Child(program(IGNORES, stop_seconds=0.2), None), Child(program(OBEYS), None)]
    for child in children:
        child.wait_ready()
    assert stop_together(children) == ["program did not stop within 0.2 s and was killed"]
    assert [child.process.returncode for child in children] == [-signal.SIGKILL, 0]


def test_a_program_that_is_not_ready_in_its_time_is_told() -> None:
    slow = Program(
        "slow", (sys.executable, "-c", "import signal; signal.pause()"), has_ready_line=True, ready_seconds=0.2
    )
    child = Child(slow, None)
    with pytest.raises(ChildError, match=r"slow was not ready within 0\.2 s"):
        child.wait_ready()
    child.process.kill()
    assert child.wait_stopped() == -signal.SIGKILL


def test_a_program_asked_by_url_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    code = "import sys; sys.exit('no such interface: eth9')"
    child = Child(Program("collector", (sys.executable, "-c", code), ready_url="http://127.0.0.1:9/readyz"), tmp_path)
    with pytest.raises(
        ChildError, match=r"collector ended with status 1 before it was ready[\s\S]*no such interface: eth9"
    ):
        child.wait_ready()
    assert child.wait_stopped() == 1


def test_the_first_program_that_ends_is_noticed(tmp_path: Path) -> None:
    children = [Child(program(OBEYS), tmp_path), Child(program("print('ready x', flush=True)"), tmp_path)]
    for child in children:
        child.wait_ready()
    assert wait_for_end(children) is children[1]
    assert wait_for_end(children[:1], 0.05) is None
    assert stop_together(children) == []


def test_the_first_signal_interrupts_and_the_next_ones_do_not_disturb_the_stop() -> None:
    stopped, before = False, signal.getsignal(signal.SIGINT)
    with interrupted_by_signals():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        stopped = True
    assert stopped
    assert signal.getsignal(signal.SIGINT) is before


def test_the_whole_tree_ends_when_its_parent_is_killed(tmp_path: Path, eventually: Eventually) -> None:
    command = [*ENDS_WITH_TEST, sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, env=child_environment({}), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_running(pid) for pid in pids)
        parent.kill()
    eventually(lambda: not any(is_running(pid) for pid in pids), within_seconds=20)


def test_python_modules_are_found_from_any_directory(tmp_path: Path) -> None:
    (tmp_path / "standalone.py").write_text("raise SystemExit('not the project')")
    done = subprocess.run(
        [*python_module("standalone", "--help")],
        cwd=tmp_path,
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "kafka" in done.stdout) == (0, True)
