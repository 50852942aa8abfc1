"""Starts to ends: a lab leaves nothing behind, however it ends, and says in one message why it cannot start."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.plan import NAMED, STATE
from lab.world import World
from tests.deadline import eventually
from tests.programs import ENDS_WITH_TEST, stop

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "lab"]


@contextmanager
def started(lab_id: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A lab in a process of its own, its traffic running."""
    command = [*ENDS_WITH_TEST, *COMMAND, "--id", lab_id, *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("traffic runs"):
                    break
            eventually(lambda: len(programs_of(lab_id)) > 15, within_seconds=10)
            yield process
        finally:
            stop(process)


def programs_of(lab_id: str) -> set[int]:
    """Processes whose network namespace is one of the lab's."""
    inodes = {path.stat().st_ino for path in files_of(lab_id)}
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/net").stat().st_ino in inodes:
                found.add(int(process.name))
        except OSError:  # ended meanwhile, or not for us to look into
            continue
    return found


def files_of(lab_id: str) -> list[Path]:
    """Namespace files of a lab."""
    return [*NAMED.glob(f"kni-{lab_id}-*"), *(STATE / lab_id).glob("*/netns/*")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_lab_that_is_asked_to_stop_leaves_nothing(number: signal.Signals) -> None:
    with started("stopped") as process:
        programs = programs_of("stopped")
        os.killpg(process.pid, number)
        assert process.wait(30) == 0

    assert files_of("stopped") == []
    assert not (STATE / "stopped").exists()
    assert [pid for pid in programs if Path(f"/proc/{pid}").exists()] == []


def test_a_lab_with_a_duration_stops_by_itself() -> None:
    command = [*COMMAND, "--id", "short", "--duration", "0.5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "kni-short-node-1" in done.stdout
    assert "KUBECONFIG=/run/kubenetinsight-lab/short/kubeconfig" in done.stdout
    assert not (STATE / "short").exists()


def test_a_killed_labs_programs_end_with_it_and_the_next_start_removes_the_rest() -> None:
    with started("killed") as process:
        programs = programs_of("killed")
        process.kill()
        process.wait()
    eventually(lambda: not [pid for pid in programs if Path(f"/proc/{pid}").exists()], within_seconds=10)
    left = files_of("killed")

    with World("other", time.time):
        assert len(left) > 15
        assert files_of("killed") == []
        assert not (STATE / "killed").exists()


def test_a_running_lab_is_left_alone_and_its_name_is_refused_to_others() -> None:
    with World("one", time.time) as one, World("two", time.time) as two:
        files = files_of("one")
        with pytest.raises(LabError, match=r"lab 'one' is already running \(process \d+\).*--id"):
            World("one", time.time).__enter__()

        assert files_of("one") == files
        assert not set(files) & set(files_of("two"))
        for world in (one, two):
            assert world.run("node-1", "ip", "-o", "link", "show", "eth0").returncode == 0


def test_two_labs_talk_at_once_and_each_to_itself() -> None:
    with World("one", time.time) as one, World("two", time.time) as two:
        one.start_traffic()
        two.start_traffic()

        def answered(world: World) -> int:
            return sum(entry.counts["exchanges"] for entry in world.ledger() if entry.conversation.side == "client")

        eventually(lambda: min(answered(one), answered(two)) > 100, within_seconds=20)
        one.stop_traffic()
        two.stop_traffic()
        for world in (one, two):
            sides = [
                sum(entry.counts["connections"] for entry in world.ledger() if entry.conversation.side == side)
                for side in ("client", "server")
            ]
            assert sides[0] == sides[1] > 0


def test_what_fails_while_a_lab_is_used_leaves_nothing() -> None:
    programs = set()

    def use() -> None:
        with World("failed", time.time) as world:
            world.start_traffic()
            programs.update(eventually(lambda: programs_of("failed"), within_seconds=10))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()

    assert files_of("failed") == []
    assert [pid for pid in programs if Path(f"/proc/{pid}").exists()] == []


def test_a_program_that_fails_is_told_with_its_reason() -> None:
    with World("taken", time.time) as world:
        api = world.pods_of("shop/api")[0].full_name
        blocker = subprocess.Popen(
            [*ENDS_WITH_TEST, "nsenter", f"--net={world.namespace_of(api)}", sys.executable, "-c", LISTEN],
            stdout=subprocess.PIPE,
            text=True,
        )
        with blocker:
            assert blocker.stdout is not None
            assert blocker.stdout.readline() == "listening\n"
            with pytest.raises(LabError, match=r"shop/api-.*Address already in use.*programs\.log"):
                world.start_traffic()
            blocker.kill()


LISTEN = "import socket; s = socket.create_server(('0.0.0.0', 8080)); print('listening', flush=True); s.accept()"


def refused(*command: str, path: str | None = None) -> str:
    """What the lab says when it cannot start."""
    environment = os.environ | ({} if path is None else {"PATH": path})
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_without_root_it_says_so() -> None:
    assert "run it as root" in refused("setpriv", "--reuid=65534", "--clear-groups", *COMMAND)


def test_without_its_programs_it_says_what_to_install(tmp_path: Path) -> None:
    message = refused(*COMMAND, path=str(tmp_path))

    assert "apt-get install iproute2 nftables util-linux" in message


def test_a_name_that_is_none_is_refused() -> None:
    assert "is no lab id" in refused(*COMMAND, "--id", "No Name")
