"""Tables in ClickHouse's Native format to ClickHouse's engine, and back: nothing changes on the way."""

import ipaddress
from collections.abc import Iterator

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client

from aggregator.native import to_native
from tests.integration.aggregator_world import Store

ROWS = 70_000
NUMBERS = range(ROWS)


@pytest.fixture(scope="module")
def client(store: Store) -> Iterator[Client]:
    with clickhouse_connect.get_client(dsn=store.url, autogenerate_session_id=False) as client:
        yield client


def names(keys: int) -> pa.DictionaryArray:
    """A name a row; one key that no row has, and one that is there twice."""
    codes = pa.array([number % keys for number in NUMBERS], pa.int32())
    return pa.DictionaryArray.from_arrays(codes, pa.array([*(f"né-{key}" for key in range(keys)), "unused", "né-0"]))


@pytest.mark.parametrize(
    ("column", "kind", "as_written"),
    [
        (pa.array(NUMBERS, pa.uint32()), "DateTime('UTC')", "toUnixTimestamp(c)"),
        (pa.array(NUMBERS, pa.int64()).view(pa.timestamp("ns", tz="UTC")), "DateTime64(9, 'UTC')", "c"),
        (pa.array([f"{'x' * (number % 300)}" for number in NUMBERS]), "String", "c"),
        (pa.array([f"n{number % 9}" for number in NUMBERS]), "LowCardinality(String)", "CAST(c, 'String')"),
        (names(1), "LowCardinality(String)", "CAST(c, 'String')"),
        (names(300), "LowCardinality(String)", "CAST(c, 'String')"),
        (names(69_000), "LowCardinality(String)", "CAST(c, 'String')"),
        (
            pa.array([[(number % 900, number)] * (number % 3 > 0) for number in NUMBERS], pa.map_("u2", "u8")),
            "SimpleAggregateFunction(sumMap, Map(UInt16, UInt64))",
            "c",
        ),
        (
            pa.array([[("lost_x", number), ("y", 0)] for number in NUMBERS], pa.map_(pa.string(), pa.uint64())),
            "Map(LowCardinality(String), UInt64)",
            "CAST(c, 'Map(String, UInt64)')",
        ),
        (
            pa.array([[number] * (number % 3) for number in NUMBERS], pa.list_(pa.uint32())),
            "Array(DateTime('UTC'))",
            "arrayMap(x -> toUnixTimestamp(x), c)",
        ),
    ],
    ids=["window", "time", "string", "string as name", "one", "u1", "u2", "histogram", "counters", "windows"],
)
def test_a_column_comes_back_as_it_was_written(client: Client, column: pa.Array, kind: str, as_written: str) -> None:
    client.command("DROP TABLE IF EXISTS written")
    client.command(f"CREATE TABLE written (n UInt32, c {kind}) ENGINE = MergeTree ORDER BY n")
    table = pa.table({"n": pa.array(NUMBERS, pa.uint32()), "c": column})
    client.raw_insert("written", table.column_names, to_native(table), fmt="Native")
    found = client.query_arrow(f"SELECT {as_written} AS c FROM written ORDER BY n")  # noqa: S608
    assert found.column("c").to_pylist() == table.column("c").to_pylist()


def test_addresses_come_back_as_they_were_written(client: Client) -> None:
    texts = ["::ffff:10.0.0.1", "2001:db8::1", "::"]
    client.command("CREATE TABLE addresses (n UInt32, c IPv6) ENGINE = MergeTree ORDER BY n")
    packed = pa.array([ipaddress.IPv6Address(text).packed for text in texts], pa.binary(16))
    table = pa.table({"n": pa.array(range(3), pa.uint32()), "c": packed})
    client.raw_insert("addresses", table.column_names, to_native(table), fmt="Native")
    assert client.query("SELECT toString(c) FROM addresses ORDER BY n").result_columns[0] == texts
