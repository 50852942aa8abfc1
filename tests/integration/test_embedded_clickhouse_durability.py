"""The embedded ClickHouse to what stays: across restarts, kills, and attempts to start it twice."""

import subprocess
import urllib.request
from pathlib import Path

import pytest

from standalone.processes import Child, ChildError, Program, python_module, stop_together
from standalone.servers import address_in, clickhouse_program, embedded_clickhouse
from standalone.settings import child_environment
from tests.deadline import Eventually

INSERT = (
    "INSERT INTO t SETTINGS async_insert = 0, insert_deduplicate = 1, insert_deduplication_token = 'inc:topic:0:1-9:t' "
    "FORMAT CSV\n"
)


def run(url: str, sql: str) -> str:
    with urllib.request.urlopen(url, data=sql.encode(), timeout=30) as answer:  # noqa: S310 - an address of ours
        return str(answer.read().decode())


def create(url: str) -> None:
    run(
        url,
        "CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 1000",
    )


def said_by(*arguments: str) -> tuple[int, list[str]]:
    """Exit status and lines of standard error of an embedded server that should not start."""
    command = python_module("standalone", *arguments)
    done = subprocess.run(command, env=child_environment({}), capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr.splitlines()


def test_rows_and_deduplication_tokens_outlive_a_clean_stop(tmp_path: Path) -> None:
    with embedded_clickhouse(tmp_path) as url:
        create(url)
        run(url, INSERT + "1\n2\n")
    with embedded_clickhouse(tmp_path) as url:
        run(url, INSERT + "1\n2\n")
        assert run(url, "SELECT count() FROM t") == "2\n"


def test_sql_reads_no_secret_from_the_environment_that_the_server_was_started_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMEBODYS_TOKEN", "hidden")
    child = Child(clickhouse_program("127.0.0.1:0", tmp_path), None)
    try:
        child.wait_ready()
        pid = child.process.pid
        environment = Path(f"/proc/{pid}/task/{pid}/environ").read_bytes()
        assert b"PATH=" in environment
        assert b"hidden" not in environment
    finally:
        assert stop_together([child]) == []


def test_statements_throw_nothing_inside_the_engine(tmp_path: Path) -> None:
    with embedded_clickhouse(tmp_path) as url:
        create(url)
        run(url, INSERT + "1\n2\n")
        assert run(url, "SELECT name, last_error_message FROM system.errors") == ""


def test_what_was_acknowledged_outlives_sigkill_and_so_does_its_token(tmp_path: Path) -> None:
    child = Child(clickhouse_program("127.0.0.1:0", tmp_path), None)
    try:
        url = f"http://{address_in(child.wait_ready())}"
        create(url)
        run(url, INSERT + "1\n2\n")
        run(url, "INSERT INTO t VALUES (3)")
    finally:
        child.process.kill()
        child.wait_stopped()
    with embedded_clickhouse(tmp_path) as url:
        run(url, INSERT + "1\n2\n")
        assert run(url, "SELECT a FROM t ORDER BY a") == "1\n2\n3\n"


def test_a_statement_that_runs_at_the_stop_is_answered(tmp_path: Path, eventually: Eventually) -> None:
    child = Child(clickhouse_program("127.0.0.1:0", tmp_path), None)
    url = f"http://{address_in(child.wait_ready())}"
    with subprocess.Popen(
        ["curl", "--silent", url, "-d", "SELECT sleep(2), 7"], stdout=subprocess.PIPE, text=True
    ) as client:
        eventually(lambda: "sleep(2)" in run(url, "SELECT query FROM system.processes"), within_seconds=10)
        assert stop_together([child]) == []
        assert client.communicate(timeout=10)[0] == "0\t7\n"


def test_a_second_process_on_the_same_directory_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with embedded_clickhouse(tmp_path) as url:
        status, lines = said_by("clickhouse", "--listen", "127.0.0.1:0", "--data", str(tmp_path))
        assert run(url, "SELECT 1") == "1\n"
    assert (status, len(lines)) == (1, 1)
    assert f"{tmp_path} is in use by process " in lines[0]
    assert "Stop it, or choose another directory with --data" in lines[0]


def test_a_directory_that_is_a_file_is_refused_with_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, lines = said_by("clickhouse", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "file"))
    assert (status, len(lines)) == (1, 1)
    assert "cannot use the data directory" in lines[0]
    assert "--data" in lines[0]


def test_a_directory_that_cannot_be_written_is_refused_with_one_message() -> None:
    status, lines = said_by("clickhouse", "--listen", "127.0.0.1:0", "--data", "/proc/nothing")
    assert (status, len(lines)) == (1, 1)
    assert "cannot use the data directory /proc/nothing" in lines[0]


def test_a_taken_port_is_refused_with_one_message_that_names_it(tmp_path: Path) -> None:
    with embedded_clickhouse(tmp_path / "first") as url:
        address = url.removeprefix("http://")
        status, lines = said_by("clickhouse", "--listen", address, "--data", str(tmp_path / "second"))
    assert (status, len(lines)) == (1, 1)
    assert f"cannot listen on {address}: Address already in use" in lines[0]
    assert "--listen" in lines[0]
    assert not (tmp_path / "second").exists()


def test_an_address_that_is_none_is_refused_with_one_message(tmp_path: Path) -> None:
    status, lines = said_by("clickhouse", "--listen", "8123", "--data", str(tmp_path))
    assert (status, lines) == (1, ["clickhouse: '8123' is not an address: write HOST:PORT, for example 127.0.0.1:9092"])


def test_a_child_that_cannot_start_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    program = Program("clickhouse", python_module("standalone", "clickhouse", "--listen", "none"), has_ready_line=True)
    child = Child(program, tmp_path)
    with pytest.raises(ChildError, match=r"clickhouse ended with status 1 before it was ready[\s\S]*'none' is not an"):
        child.wait_ready()
    assert child.wait_stopped() == 1
