"""A wrong word, a wrong setting, a server that is away or a missing right to one message that says what to do."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

from standalone.address import Address, address_of, bound_socket
from tests.integration.aggregator_world import Store
from tests.integration.refusals import PYTHON, as_nobody, environment, refusal

NOWHERE = {"KNI_CLICKHOUSE": "http://127.0.0.1:1", "KNI_KAFKA": "127.0.0.1:1"}
ASK_CLICKHOUSE = "ClickHouse does not answer at http://127.0.0.1:1 ([Errno 111] Connection refused): is it running?"
ASK_KAFKA = "Kafka does not answer at 127.0.0.1:1 (Failed to get metadata: Local: Broker transport failure): is it"


def kubenetinsight(*words: str) -> tuple[str, ...]:
    return (*PYTHON, "cli", *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("summary",), ASK_CLICKHOUSE),
        (("connections",), ASK_CLICKHOUSE),
        (("edges",), ASK_CLICKHOUSE),
        (("flows",), ASK_CLICKHOUSE),
        (("sql", "SELECT 1"), ASK_CLICKHOUSE),
        (("status",), ASK_KAFKA),
        (("flows", "--follow"), ASK_KAFKA),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_server_that_is_away_is_named_with_the_setting_that_says_where_it_is(
    words: tuple[str, ...], message: str
) -> None:
    said = refusal(kubenetinsight(*words), NOWHERE)
    assert said.startswith(f"kubenetinsight: {message}")
    assert f"KNI_{'KAFKA' if message is ASK_KAFKA else 'CLICKHOUSE'} says where it is" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing",), "invalid choice: 'nothing' (choose from 'summary',"),
        (("summary", "--since", "soon"), "'soon' is no length of time: write 30s, 15m, 2h or 1d, at most 366d"),
        (("edges", "--since", "0s"), "'0s' is no length of time"),
        (("edges", "--since", "900d"), "'900d' is no length of time"),
        (("flows", "--folow"), "kubenetinsight flows: error: unrecognized arguments: --folow"),
        (("summary", "--namespace", "shop"), "kubenetinsight summary: error: unrecognized arguments: --namespace shop"),
        (("status", "--since", "1h"), "kubenetinsight status: error: unrecognized arguments: --since 1h"),
        (("flows", "--follow", "--namespace", "shop"), "as they come, all and without names: leave --namespace out"),
        (("edges", "--limit", "-1"), "'-1' is no number of rows: write one from 1 to 1000000"),
        (("flows", "-o", "xml"), "invalid choice: 'xml'"),
        (("sql",), "the following arguments are required: query"),
        (("lab", "--duration", "-1"), "'-1' is no duration: write a number of seconds, at most 86400"),
        (("lab", "--duration", "nan"), "'nan' is no duration"),
        (("demo", "--duration", "soon"), "'soon' is no number of seconds: write one from 1 to 86400"),
        (("collector", "--fast"), "unrecognized arguments: --fast"),
        (("aggregator", "stop"), "invalid choice: 'stop'"),
        (("up", "--data"), "argument --data: expected one argument"),
        (("detach", "--all"), "unrecognized arguments: --all"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_word_that_is_not_understood_is_told_with_what_may_stand_there(words: tuple[str, ...], message: str) -> None:
    assert message in refusal(kubenetinsight(*words), NOWHERE, status=2)


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        (("summary",), {"KNI_CLICKHOUSE": "db:8123"}, "KNI_CLICKHOUSE is 'db:8123': set something such as http://"),
        (("summary",), {"KNI_CLICKHOUSE_DATABASE": "a b"}, "KNI_CLICKHOUSE_DATABASE is 'a b': set something such as"),
        (("status",), {"KNI_KAFKA": "broker"}, "KNI_KAFKA is 'broker': set something such as 127.0.0.1:9092"),
        (("sql", " "), {}, "the query is empty: write one, such as 'SELECT count() FROM flows'"),
        (
            ("summary",),
            {"KNI_CLICKHOUSE": "http://no.invalid"},
            "at http://no.invalid (Failed to resolve 'no.invalid'): is",
        ),
        (("summary",), {"KNI_CLICKHOUSE_PASSWORD_FILE": "/none"}, "KNI_CLICKHOUSE_PASSWORD_FILE: cannot read /none"),
        (("up",), {"KNI_KAFKA_LISTEN": "9092"}, "KNI_KAFKA_LISTEN: '9092' is not an address: write HOST:PORT"),
        (("up",), {"KNI_CLICKHOUSE_LISTEN": "x"}, "KNI_CLICKHOUSE_LISTEN: 'x' is not an address: write HOST:PORT"),
        (("up",), {"KNI_COLLECTOR_LISTEN": "x:y"}, "KNI_COLLECTOR_LISTEN: 'x:y' is not an address: write HOST:PORT"),
        (("up",), {"KNI_AGGREGATOR_LISTEN": ":1"}, "KNI_AGGREGATOR_LISTEN: ':1' is not an address: write HOST:PORT"),
        (("up", "--interface", "none0"), {}, "KNI_UPLINKS=none0: the node has no such interface; it has "),
        (("up",), {"KNI_NETNS": "/run/netns/none"}, "/run/netns/none"),
        (("up",), {"KNI_CONVERSATIONS": "many"}, "KNI_CONVERSATIONS=many: give a whole number from 64 to 4194304"),
        (("up",), {"KNI_GRACE_SECONDS": "soon"}, "KNI_GRACE_SECONDS is 'soon': set a number of seconds between"),
        (("demo", "--duration", "0"), {}, "--duration 0: write a number of seconds from 1 to 86400"),
        (("lab", "--id", "A B"), {}, "'A B' is no lab id: use 1 to 16 lower-case letters and digits"),
        (("aggregator",), {"KNI_KAFKA": "broker"}, "KNI_KAFKA is 'broker': set HOST:PORT"),
        (
            ("aggregator",),
            {"KNI_CIDR_LABELS": "10.0.0.0/8"},
            "KNI_CIDR_LABELS: '10.0.0.0/8' has no name; write RANGE=NAME",
        ),
        (("aggregator", "schema"), {"KNI_CLICKHOUSE_DATABASE": "a b"}, "KNI_CLICKHOUSE_DATABASE is 'a b': use letters"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_setting_is_told_before_anything_starts(
    words: tuple[str, ...], settings: dict[str, str], *, message: str
) -> None:
    said = refusal(kubenetinsight(*words), {**NOWHERE, "KNI_AGGREGATOR_LISTEN": "127.0.0.1:0", **settings})
    assert said.startswith("kubenetinsight")
    assert message in said


def test_without_a_word_it_tells_what_there_is_and_how_to_begin() -> None:
    said = {words: said_by(*words) for words in ((), ("help",), ("--help",))}
    assert [done.returncode for done in said.values()] == [2, 0, 0]
    assert len({done.stdout for done in said.values()}) == 1
    assert "first steps:  kubenetinsight demo --keep" in said["help",].stdout


def test_it_tells_its_version() -> None:
    assert said_by("--version").stdout == f"kubenetinsight {version('kubenetinsight')}\n"


def said_by(*words: str) -> subprocess.CompletedProcess[str]:
    command = kubenetinsight(*words)
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("words", [("lab",), ("demo", "--duration", "1")], ids=" ".join)
def test_a_lab_by_somebody_who_is_not_root_is_told(words: tuple[str, ...], tmp_path: Path) -> None:
    said = refusal((*as_nobody(), *kubenetinsight(*words)), {"TMPDIR": str(tmp_path)})
    assert f"kubenetinsight {words[0]}: the lab makes network namespaces, and this user may not: run it as root" in said
    assert list(tmp_path.iterdir()) == []


def test_up_by_somebody_who_may_not_count_packets_is_told_before_anything_starts(tmp_path: Path) -> None:
    command = (*as_nobody(), *kubenetinsight("up", "--data", f"{tmp_path}/data"))
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (1, "", [])
    (said,) = done.stderr.splitlines()
    assert said.startswith(
        "kubenetinsight up: this process lacks CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON: run it as root, or give it"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"KNI_CLICKHOUSE_DATABASE": "none"}, "has no database none: make it with `kubenetinsight aggregator schema`"),
        (
            {"KNI_CLICKHOUSE_DATABASE": "default"},
            "KNI_CLICKHOUSE_DATABASE is default, and `kubenetinsight aggregator sch",
        ),
        ({"KNI_CLICKHOUSE_USER": "nobody"}, "does not let this user in (Code: 516. DB::Exception: nobody: Authenticat"),
    ],
    ids=["no database", "no tables", "no user"],
)
def test_a_clickhouse_that_is_not_prepared_is_told_with_what_to_do(
    store: Store, settings: dict[str, str], *, message: str
) -> None:
    said = refusal(kubenetinsight("edges"), {"KNI_CLICKHOUSE": store.url, **settings})
    assert said.startswith(f"kubenetinsight: ClickHouse at {store.url} ")
    assert message in said
    assert len(said) < 400


def test_a_query_may_stand_without_quotes_and_without_rows(store: Store) -> None:
    words = ("sql", "SELECT", "1", "AS", "one", "WHERE", "dummy", "=", "1")
    settings = environment(KNI_CLICKHOUSE=store.url, KNI_CLICKHOUSE_DATABASE="system")
    done = subprocess.run(kubenetinsight(*words), env=settings, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "no rows\n", "")


@contextmanager
def taken() -> Iterator[str]:
    """An address that somebody listens on."""
    with bound_socket(Address("127.0.0.1", 0), "") as listener:
        yield str(address_of(listener))


def test_the_aggregators_taken_port_is_told_before_it_waits_for_servers() -> None:
    with taken() as address:
        said = refusal(kubenetinsight("aggregator"), {**NOWHERE, "KNI_AGGREGATOR_LISTEN": address})
    assert f"{address} can't be listened on (Address already in use): stop what uses it" in said
    assert "set KNI_AGGREGATOR_LISTEN to another HOST:PORT" in said


@pytest.mark.parametrize("server", ["kafka", "clickhouse"])
def test_an_embedded_servers_taken_port_is_told(server: str, tmp_path: Path) -> None:
    data = ("--data", f"{tmp_path}/data") if server == "clickhouse" else ()
    with taken() as address:
        said = refusal((*PYTHON, "standalone", server, "--listen", address, *data), {})
    assert f"{server}: cannot listen on {address}: Address already in use. End the program that holds it" in said


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("/proc/kni", "cannot use the data directory /proc/kni: No such file or directory. Choose another with --data"),
        ("/etc/hostname", "cannot use the data directory /etc/hostname: "),
    ],
)
def test_data_where_none_can_be_is_told(data: str, message: str) -> None:
    command = (*PYTHON, "standalone", "clickhouse", "--listen", "127.0.0.1:0", "--data", data)
    assert message in refusal(command, {})
