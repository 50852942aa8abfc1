"""Questions of the last minutes to the granules that ClickHouse reads for them, out of days of rows."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from aggregator.schema import apply_schema
from aggregator.settings import Settings
from cli import queries, summary_queries
from standalone.questions import EXAMPLE, QUESTIONS
from standalone.servers import embedded_clickhouse
from tests.documented_queries import PANELS, QUERIES, expand, title_of

WINDOWS = """
INSERT INTO {table} (window, {name})
SELECT toStartOfInterval(now(), INTERVAL 10 SECOND) - 10 * intDiv(number, 4), concat('a-', toString(number % 4))
FROM numbers(3 * 8640 * 4)
"""
RECORDS = """
INSERT INTO {table} (time_end, src_workload)
SELECT now64(9) - intDiv(number, 2), concat('a-', toString(number % 4)) FROM numbers(20 * 3600 * 2)
"""
BATCHES = """
INSERT INTO completeness (at, topic, node, ring_id, next, gap, created, exported_until, counting_since)
SELECT now64(3) - number, 'kubenetinsight.flows', 'n1', 'ring', 259200 - number, number = 60, now64(9) - number,
    now64(9) - number, now64(9) - 300000
FROM numbers(3 * 86400)
"""
FILLED = {
    "window_protocols": "src_workload",
    "window_latency": "src_workload",
    "window_drops": "src_workload",
    "window_sizes": "interface",
    "window_interfaces": "interface",
}
GRANULES = 3
"""Where a range begins, where it ends, and one more where midnight or an hour falls into it."""
GROWTH = ("packet_sizes", "interface_traffic")
"""Views of what grew since the row before, wherever that is: they read their table whole, once."""
PARAMETERS = {"since": 900, "limit": 20, "namespace": ""}
ASKED = {
    **{f"documents: {title_of(query)}": query for query in QUERIES},
    **{f"dashboard: {title} {number}": expand(sql) for number, (title, sql) in enumerate(PANELS)},
    **{f"command: {each.title}": each.sql for each in (*summary_queries.SUMMARY, queries.CONNECTIONS, queries.FLOWS)},
    f"command: {queries.NODES.title}": queries.NODES.sql,
    **{f"demo: {question}": sql for question, sql in QUESTIONS.items()},
    "demo: by curl": EXAMPLE.partition(" FORMAT ")[0],
}


class Read(NamedTuple):
    """How much of a table one step of a query reads."""

    table: str
    granules: int
    of: int


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Tables with three days of windows and batches, and twenty hours of records."""
    with embedded_clickhouse(tmp_path_factory.mktemp("clickhouse")) as url:
        apply_schema(Settings.from_environment({"KNI_CLICKHOUSE": url}))
        made = clickhouse_connect.get_client(dsn=url, database="kubenetinsight")
        for table, name in FILLED.items():
            made.command(WINDOWS.format(table=table, name=name))
        for table in ("flows", "drops"):
            made.command(RECORDS.format(table=table))
        made.command(BATCHES)
        yield made
        made.close()


def reads(client: Client, sql: str) -> list[Read]:
    """What `EXPLAIN indexes = 1` says of every table that a query reads; leases and rings have no time range."""
    lines = client.query(f"EXPLAIN indexes = 1 {sql}", parameters=PARAMETERS).result_rows
    _, *steps = "\n".join(str(line) for (line,) in lines).split("ReadFromMergeTree (")
    found = []
    for step in steps:
        table = step.partition(")")[0].rpartition(".")[2]
        granules = re.findall(r"Granules: (\d+)/(\d+)", step)
        if table not in {"identities", "rings"}:
            found.append(Read(table, int(granules[-1][0]), int(granules[0][1])))
    return found


def test_there_is_more_than_a_question_should_read(client: Client) -> None:
    found = [read for sql in ASKED.values() for read in reads(client, sql)]
    assert {read.table for read in found} == {*FILLED, "flows", "completeness"}
    assert min(read.of for read in found) > 3 * GRANULES


@pytest.mark.parametrize("sql", ASKED.values(), ids=ASKED.keys())
def test_a_question_reads_what_it_is_about(client: Client, sql: str) -> None:
    found = reads(client, sql)
    assert found
    if any(view in sql for view in GROWTH):
        assert len(found) == 1
    else:
        assert [read for read in found if not 0 < read.granules <= GRANULES] == []
