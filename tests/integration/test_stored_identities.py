"""Leases in ClickHouse: the newest version of each is what a new worker starts from, and SQL can name a row by them."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from aggregator.identity.addresses import to_address, to_words
from aggregator.identity.identities import Identities
from aggregator.identity.objects import Changed, Deleted, Listed, Node, Owner, Pod, Resource
from aggregator.identity.ranges import RangeSettings
from aggregator.settings import Settings
from aggregator.write import ClickHouse, Insert
from standalone.servers import embedded_clickhouse

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND = 10**9
BEGIN = 1_795_507_200 * SECOND
A = to_address("10.244.1.5")

AS_OF_ITS_TIME = """
    SELECT at, if(flow.at < lease.valid_to, lease.pod, '') AS pod
    FROM
    (
        SELECT
            toIPv6('::ffff:10.244.1.5') AS address,
            toDateTime64(arrayJoin([10, 45, 70]) + {begin:UInt32}, 9, 'UTC') AS at
    ) AS flow
    ASOF LEFT JOIN (SELECT * FROM identities FINAL) AS lease
        ON flow.address = lease.address AND flow.at >= lease.valid_from
    ORDER BY at
"""


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    with embedded_clickhouse(tmp_path_factory.mktemp("clickhouse") / "data") as url:
        settings = Settings.from_environment({"KNI_CLICKHOUSE": url, "KNI_CLICKHOUSE_DATABASE": "default"})
        yield ClickHouse(settings)


@pytest.fixture
def table(clickhouse: ClickHouse) -> Iterator[ClickHouse]:
    sql = files("schemas").joinpath("clickhouse/008_identities.sql").read_text()
    clickhouse.command(sql.rstrip().removesuffix(";"))
    yield clickhouse
    clickhouse.command("DROP TABLE identities SYNC")


def pod(name: str, created_ns: int) -> Pod:
    return Pod(
        uid=f"uid-{name}",
        namespace="shop",
        name=name,
        node="node-1",
        addresses=(A, to_address("fd00::5")),
        created_ns=created_ns,
        started_ns=created_ns,
        is_finished=False,
        ended_by_ns=None,
        owner=Owner("StatefulSet", "set", "uid-set"),
        template_hash="",
        host_ports=(),
    )


def store(clickhouse: ClickHouse, identities: Identities) -> None:
    rows = pa.Table.from_batches([identities.changed_rows()])
    clickhouse.insert(Insert("identities", rows, f"identities:{rows['version'].to_pylist()}"))
    identities.confirm_rows()


def a_cluster_with_a_used_address() -> Identities:
    identities = Identities(RangeSettings(), is_watching=True)
    node = Node("uid-node-1", "node-1", BEGIN, (to_address("192.168.1.1"),), "z1", ())
    identities.apply(Changed((pod("old", BEGIN), node), BEGIN + SECOND))
    return identities


def stored(clickhouse: ClickHouse) -> Identities:
    identities = Identities(RangeSettings(), is_watching=True)
    identities.load(clickhouse.query("SELECT * FROM identities FINAL"))
    return identities


def holders(identities: Identities, *seconds: int) -> list[str]:
    leases = identities.snapshot().leases
    times = pa.array([BEGIN + second * SECOND for second in seconds]).to_numpy()
    rows = leases.find(to_words(A * len(seconds)), times)
    rows[rows < 0] = leases.unresolved
    return list(leases.names("pod", rows).to_pylist())


def test_a_new_worker_finds_the_leases_as_they_were_told_last(table: ClickHouse) -> None:
    identities = a_cluster_with_a_used_address()
    store(table, identities)
    identities.apply(Changed((pod("new", BEGIN + 50 * SECOND),), BEGIN + 60 * SECOND))
    store(table, identities)
    identities.apply(Deleted(pod("old", BEGIN), BEGIN + 80 * SECOND))
    store(table, identities)
    times = (-1, 0, 79, 80, 500)
    assert holders(stored(table), *times) == holders(identities, *times) == ["", "old", "old", "new", "new"]
    assert len(stored(table).snapshot().leases) == 5


def test_a_lease_that_lasts_outlives_merges(table: ClickHouse) -> None:
    store(table, a_cluster_with_a_used_address())
    table.command("OPTIMIZE TABLE identities FINAL")
    assert holders(stored(table), 10) == ["old"]


def test_a_new_worker_ends_what_it_no_longer_finds(table: ClickHouse) -> None:
    store(table, a_cluster_with_a_used_address())
    heir = stored(table)
    heir.apply(Listed(Resource.PODS, frozenset(), BEGIN + 90 * SECOND))
    store(table, heir)
    assert holders(stored(table), 89, 90) == ["old", ""]


def test_sql_names_a_row_as_of_its_time(table: ClickHouse) -> None:
    identities = a_cluster_with_a_used_address()
    identities.apply(Deleted(pod("old", BEGIN), BEGIN + 40 * SECOND))
    identities.apply(Changed((pod("new", BEGIN + 50 * SECOND),), BEGIN + 60 * SECOND))
    store(table, identities)
    answer = table.query(AS_OF_ITS_TIME, {"begin": BEGIN // SECOND})
    assert answer["pod"].to_pylist() == ["old", "", "new"]
