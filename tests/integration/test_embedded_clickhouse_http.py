"""The embedded ClickHouse to curl: what ClickHouse's HTTP interface promises."""

import gzip
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from standalone.compression import ENCODERS
from standalone.servers import embedded_clickhouse


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_clickhouse(tmp_path_factory.mktemp("clickhouse") / "data") as url:
        yield url


def curl(*arguments: str, sent: bytes = b"") -> bytes:
    return subprocess.run(
        ["curl", "--silent", "-H", "Expect:", *arguments], input=sent, capture_output=True, check=True
    ).stdout


def head_and_body(*arguments: str, sent: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, body."""
    head, _, body = curl("--include", *arguments, sent=sent).partition(b"\r\n\r\n")
    status_line, *lines = head.decode().split("\r\n")
    return int(status_line.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}, body


def run(url: str, sql: str) -> str:
    return curl(url, "--data-binary", "@-", sent=sql.encode()).decode()


@pytest.fixture
def table(url: str) -> Iterator[None]:
    run(url, "CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
    yield
    run(url, "DROP TABLE t SYNC")


def test_a_query_in_the_address_is_answered_tab_separated(url: str) -> None:
    assert curl(f"{url}/?query=SELECT+1") == b"1\n"
    assert curl(url, "--get", "--data-urlencode", "query=SELECT 1, 'a\tb'") == b"1\ta\\tb\n"


def test_a_query_in_the_body_is_answered_in_the_format_it_names(url: str) -> None:
    assert json.loads(run(url, "SELECT 1 AS one FORMAT JSON"))["data"] == [{"one": 1}]
    assert run(url, "SELECT 1, 'x' FORMAT CSV") == '1,"x"\n'


def test_the_format_can_be_asked_for_outside_the_query(url: str) -> None:
    assert curl(f"{url}/?default_format=JSONEachRow", "-d", "SELECT 1 AS one") == b'{"one":1}\n'
    assert curl(url, "-H", "X-ClickHouse-Format: CSV", "-d", "SELECT 'x'") == b'"x"\n'


def test_ping_and_replicas_status_answer(url: str) -> None:
    assert curl(f"{url}/ping") == b"Ok.\n"
    assert curl(f"{url}/replicas_status") == b"Ok.\n"


def test_an_error_has_its_code_in_a_header_and_clickhouses_words(url: str) -> None:
    status, headers, body = head_and_body(f"{url}/?query=SELECT+nope")
    assert (status, headers["x-clickhouse-exception-code"]) == (404, "47")
    assert body.startswith(b"Code: 47. DB::Exception: Unknown expression identifier `nope`")
    assert head_and_body(url, "-d", "SELEKT 1")[0] == 400
    assert head_and_body(f"{url}/?no_such_setting=1", "-d", "SELECT 1")[1]["x-clickhouse-exception-code"] == "115"


def test_get_cannot_write(url: str) -> None:
    status, headers, body = head_and_body(f"{url}/?query=CREATE+DATABASE+x")
    assert (status, headers["x-clickhouse-exception-code"]) == (500, "164")
    assert b"method GET implies readonly" in body


def test_the_answer_is_compressed_as_accepted(url: str) -> None:
    sql = "query=SELECT%20number%20FROM%20numbers(1000)"
    plain = curl(f"{url}/?{sql}")
    for encoding in ("gzip", "deflate"):
        status, headers, body = head_and_body(f"{url}/?{sql}", "-H", f"Accept-Encoding: {encoding}")
        assert (status, headers["content-encoding"]) == (200, encoding)
        assert len(body) < len(plain)
        assert curl("--compressed", f"{url}/?{sql}", "-H", f"Accept-Encoding: {encoding}") == plain
    assert "content-encoding" not in head_and_body(f"{url}/?{sql}&enable_http_compression=0", "--compressed")[1]


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("encoding", sorted(ENCODERS))
def test_a_compressed_insert_is_read(url: str, encoding: str) -> None:
    body = ENCODERS[encoding](b"1,one\n2,two\n")
    insert = f"{url}/?query=INSERT+INTO+t+FORMAT+CSV"
    assert curl(insert, "--data-binary", "@-", "-H", f"Content-Encoding: {encoding}", sent=body) == b""
    assert run(url, "SELECT a, b FROM t ORDER BY a") == "1\tone\n2\ttwo\n"


def test_a_body_that_is_not_what_its_encoding_says_is_refused(url: str) -> None:
    status, headers, body = head_and_body(url, "-H", "Content-Encoding: gzip", "-d", "SELECT 1")
    assert (status, headers["x-clickhouse-exception-code"]) == (400, "271")
    assert b"not gzip" in body


@pytest.mark.usefixtures("table")
def test_a_chunked_body_is_read(url: str) -> None:
    rows = b"".join(b"%d,x\n" % number for number in range(100_000))
    insert = f"{url}/?query=INSERT+INTO+t+FORMAT+CSV"
    curl("-H", "Transfer-Encoding: chunked", "--data-binary", "@-", insert, sent=rows)
    assert run(url, "SELECT count(), sum(a) FROM t") == "100000\t4999950000\n"


@pytest.mark.usefixtures("table")
def test_an_inserts_rows_may_follow_it_in_the_body(url: str) -> None:
    run(url, "INSERT INTO t VALUES (1, 'semi;colon'), (2, 'FORMAT CSV')")
    run(url, 'INSERT INTO t FORMAT JSONEachRow\n{"a": 3, "b": "three"}')
    run(url, "INSERT INTO t SELECT 4, 'four'")
    assert run(url, "SELECT a, b FROM t ORDER BY a") == "1\tsemi;colon\n2\tFORMAT CSV\n3\tthree\n4\tfour\n"


@pytest.mark.usefixtures("table")
def test_the_summary_tells_what_was_written_and_read(url: str) -> None:
    insert = head_and_body(f"{url}/?query=INSERT+INTO+t+FORMAT+CSV", "-d", "1,x")
    assert json.loads(insert[1]["x-clickhouse-summary"])["written_rows"] == "1"
    read = head_and_body(url, "-d", "SELECT * FROM t")
    assert json.loads(read[1]["x-clickhouse-summary"])["read_rows"] == "1"


def test_the_database_parameter_decides_where_names_are_looked_up(url: str) -> None:
    run(url, "CREATE DATABASE IF NOT EXISTS `odd ``name`")
    assert curl(f"{url}/?database=odd%20%60name", "-d", "SELECT currentDatabase()") == b"odd `name\n"
    assert run(url, "SELECT currentDatabase()") == "default\n"
    assert head_and_body(f"{url}/?database=nowhere", "-d", "SELECT 1")[1]["x-clickhouse-exception-code"] == "81"


def test_parameters_are_values_and_never_sql(url: str) -> None:
    nasty = "x' OR 1=1 --"
    assert curl(f"{url}/?query=SELECT+%7Bp:String%7D", "--get", "--data-urlencode", f"param_p={nasty}") == (
        b"x\\' OR 1=1 --\n"
    )


def test_settings_are_values_and_never_sql(url: str) -> None:
    token = "t', max_threads = '9"
    arguments = ("--get", "--data-urlencode", f"insert_deduplication_token={token}")
    sql = "query=SELECT%20getSetting('insert_deduplication_token'),%20getSetting('max_threads')%3D9"
    assert curl(f"{url}/?{sql}", *arguments) == b"t\\', max_threads = \\'9\t0\n"
    assert head_and_body(f"{url}/?max_threads%3D9,%20a=1", "-d", "SELECT 1")[1]["x-clickhouse-exception-code"] == "408"


def test_a_request_leaves_nothing_behind_for_the_next(url: str) -> None:
    assert curl(f"{url}/?max_threads=7", "-d", "SELECT getSetting('max_threads')") == b"7\n"
    run(url, "SET max_threads = 9")
    run(url, "CREATE TEMPORARY TABLE left_behind (a Int8)")
    assert run(url, "SELECT getSetting('max_threads') IN (7, 9)") == "0\n"
    assert "UNKNOWN_TABLE" in run(url, "SELECT * FROM left_behind")


def test_a_session_keeps_what_was_set_in_it_but_not_a_requests_own_settings(url: str) -> None:
    session = f"{url}/?session_id=one"
    curl(session, "-d", "SET max_threads = 9")
    curl(session, "-d", "CREATE TEMPORARY TABLE kept AS SELECT 5 AS a")
    assert curl(session, "-d", "SELECT a, getSetting('max_threads') FROM kept") == b"5\t9\n"
    assert curl(f"{session}&max_threads=3", "-d", "SELECT getSetting('max_threads')") == b"3\n"
    assert curl(session, "-d", "SELECT getSetting('max_threads')") == b"9\n"
    assert "SESSION_NOT_FOUND" in curl(f"{url}/?session_id=two&session_check=1", "-d", "SELECT 1").decode()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('file:///etc/passwd', 'LineAsString')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT file('/etc/passwd')",
        "SELECT * FROM file('/proc/1/environ', 'LineAsString')",
        "SELECT * FROM file('/proc/self/environ', 'LineAsString')",
        "INSERT INTO FUNCTION file('/opt/written-by-sql', 'CSV') SELECT 1",
        "SELECT 1 INTO OUTFILE '/opt/written-by-sql'",
        "SELECT * FROM executable('id', 'TSV', 'a String')",
        "SELECT * FROM python('os')",
    ],
)
def test_no_query_reaches_this_machines_files_and_programs(url: str, sql: str) -> None:
    status, headers, body = head_and_body(url, "-d", sql)
    assert (status == 200, "x-clickhouse-exception-code" in headers, b"root:" in body) == (False, True, False)
    assert not Path("/opt/written-by-sql").exists()


def test_only_the_default_user_without_a_password_is_known(url: str) -> None:
    assert curl("--user", "default:", url, "-d", "SELECT currentUser()") == b"default\n"
    for credentials in ("default:wrong", "somebody:"):
        status, headers, _ = head_and_body("--user", credentials, url, "-d", "SELECT 1")
        assert (status, headers["x-clickhouse-exception-code"]) == (403, "516")


def test_a_body_past_the_bound_is_refused_and_the_server_goes_on(url: str, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        for _ in range(257):
            file.write(b" " * (1 << 20))
    status, _, body = head_and_body(url, "-H", "Content-Encoding: gzip", "--data-binary", f"@{bomb}")
    assert (status, b"more than 268435456 bytes" in body) == (400, True)
    assert curl(f"{url}/ping") == b"Ok.\n"
