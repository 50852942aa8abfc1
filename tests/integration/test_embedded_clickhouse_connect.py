"""The embedded ClickHouse to clickhouse-connect, the client that the aggregator and the command line use."""

import datetime
import io
import ipaddress
import threading
from collections.abc import Iterator
from typing import Any

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from standalone.servers import embedded_clickhouse

EXACTLY_ONCE = {"async_insert": 0, "insert_deduplicate": 1}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with embedded_clickhouse(tmp_path_factory.mktemp("clickhouse") / "data") as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture
def client(port: int) -> Iterator[Any]:
    with clickhouse_connect.get_client(host="127.0.0.1", port=port) as client:
        client.command(
            "CREATE TABLE t (a UInt64, b LowCardinality(String), at DateTime64(9), sums Map(UInt16, UInt64), ip IPv6) "
            "ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 1000"
        )
        yield client
        client.command("DROP TABLE t SYNC")


def arrow_stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def test_commands_and_queries_are_answered(client: Any) -> None:
    assert client.command("SELECT 1 + 1") == 2
    assert client.query("SELECT number, toString(number) FROM numbers(3)").result_rows == [(0, "0"), (1, "1"), (2, "2")]
    assert client.server_version == client.command("SELECT version()")


@pytest.mark.parametrize("compress", [True, False, "gzip", "zstd", "lz4"])
def test_every_type_of_our_tables_comes_back_as_it_was_sent(client: Any, port: int, compress: Any) -> None:
    row = (
        7,
        "it's",
        datetime.datetime.fromisoformat("2026-01-02T03:04:05"),
        {3: 4},
        ipaddress.IPv6Address("::ffff:10.0.0.1"),
    )
    with clickhouse_connect.get_client(host="127.0.0.1", port=port, compress=compress) as other:
        other.insert("t", [row] * 2000, column_names=["a", "b", "at", "sums", "ip"])
        rows = other.query("SELECT * FROM t").result_rows
    assert rows == [row] * 2000
    assert client.command("SELECT count() FROM t") == 2000


@pytest.mark.parametrize("value", ["it's", "a\tb", "a\nb", "back\\slash", "{x}", "\\N", "ünï", ""])
def test_a_parameter_comes_through_as_it_is(client: Any, value: str) -> None:
    assert client.query("SELECT {value:String}", parameters={"value": value}).result_rows == [(value,)]


def test_parameters_of_other_types_come_through(client: Any) -> None:
    at = datetime.datetime.fromisoformat("2026-01-02T03:04:05")
    sql = "SELECT {a:UInt64}, {b:Array(String)}, {c:DateTime}, {d:Nullable(String)}"
    values = {"a": 2**63, "b": ["x", "y'z"], "c": at, "d": None}
    assert client.query(sql, parameters=values).result_rows == [(2**63, ["x", "y'z"], at, None)]


def test_arrow_goes_in_and_comes_out(client: Any) -> None:
    table = pa.table({"a": pa.array(range(1000), pa.uint64()), "b": pa.array(["x", "y"] * 500).dictionary_encode()})
    summary = client.insert_arrow("t", table)
    assert summary.written_rows == 1000
    assert client.query_arrow("SELECT a FROM t ORDER BY a")["a"].to_pylist() == list(range(1000))


def test_an_insert_with_a_token_counts_once_whatever_it_brings_the_second_time(client: Any) -> None:
    for rows in ([1, 2], [1, 2], [3, 4]):
        stream = arrow_stream(pa.table({"a": pa.array(rows, pa.uint64())}))
        settings = EXACTLY_ONCE | {"insert_deduplication_token": "it's:kubenetinsight.flows:0:1-9:t"}
        client.raw_insert("t", insert_block=stream, fmt="ArrowStream", settings=settings)
    assert client.query("SELECT a FROM t ORDER BY a").result_rows == [(1,), (2,)]


def test_equal_rows_under_different_tokens_count_each(client: Any) -> None:
    stream = arrow_stream(pa.table({"a": pa.array([1], pa.uint64())}))
    for token in ("first", "second"):
        settings = EXACTLY_ONCE | {"insert_deduplication_token": token}
        client.raw_insert("t", insert_block=stream, fmt="ArrowStream", settings=settings)
    assert client.command("SELECT count() FROM t") == 2


def test_a_large_arrow_insert_is_one_block(client: Any) -> None:
    stream = arrow_stream(pa.table({"a": pa.array(range(1_000_000), pa.uint64())}))
    settings = EXACTLY_ONCE | {"insert_deduplication_token": "large"}
    summary = client.raw_insert("t", insert_block=stream, fmt="ArrowStream", settings=settings)
    assert summary.written_rows == 1_000_000
    assert client.query("SELECT count(), sum(a) FROM t").result_rows == [(1_000_000, 499_999_500_000)]


def test_bytes_that_are_no_arrow_stream_are_refused_and_nothing_is_stored(client: Any) -> None:
    with pytest.raises(DatabaseError, match="code: 117"):
        client.raw_insert("t", insert_block=b"no arrow at all", fmt="ArrowStream")
    assert client.command("SELECT count() FROM t") == 0


def test_an_error_carries_clickhouses_code(client: Any) -> None:
    with pytest.raises(DatabaseError, match="code: 60"):
        client.query("SELECT * FROM missing")


def test_settings_and_databases_belong_to_one_request(client: Any) -> None:
    assert client.query("SELECT getSetting('max_threads')", settings={"max_threads": 1}).result_rows == [(1,)]
    assert client.query("SELECT getSetting('max_threads') = 1").result_rows == [(False,)]


def test_what_a_session_sets_stays_in_it(client: Any) -> None:
    client.command("CREATE TEMPORARY TABLE kept AS SELECT 5 AS a")
    assert client.query("SELECT a FROM kept").result_rows == [(5,)]


def test_many_clients_insert_and_read_at_once(client: Any, port: int) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with clickhouse_connect.get_client(host="127.0.0.1", port=port) as other:
                for step in range(5):
                    stream = arrow_stream(pa.table({"a": pa.array([number * 10 + step], pa.uint64())}))
                    settings = EXACTLY_ONCE | {"insert_deduplication_token": f"{number}:{step}"}
                    other.raw_insert("t", insert_block=stream, fmt="ArrowStream", settings=settings)
                    other.command("SELECT count() FROM t")
        except BaseException as failure:
            failures.append(failure)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert client.query("SELECT count(), uniqExact(a) FROM t").result_rows == [(100, 100)]
