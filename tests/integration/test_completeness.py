"""Chains of batches to windows that are complete, or say why not."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from aggregator.schema import apply_schema
from aggregator.settings import Settings
from schemas.topics import DROPS, FLOWS
from standalone.servers import embedded_clickhouse

END = 60
"""Every chain here is told up to then: seconds from the first window's start."""


@dataclass(frozen=True)
class Batch:
    """A row of completeness; times are seconds from the first window's start."""

    since: float
    until: float
    created: float
    next: int
    gap: int = 0
    lost: int = 0


def chain(*, since: float = -5, until: int = END + 1, **changes: Batch) -> list[Batch]:
    """A batch a second, each exported up to half a second before it was made; some of them others."""
    made = {f"at_{n}": Batch(since, n - 0.5, n, next=n + 10) for n in range(int(since) + 1, until + 1)}
    return list({**made, **changes}.values())


def losing(at: float) -> list[Batch]:
    """A chain whose loss counter grows once."""
    return [replace(batch, lost=7 * (batch.created >= at)) for batch in chain()]


def beginning_anew(at: float) -> list[Batch]:
    """A chain of a collector that found out that it had missed something."""
    return [replace(batch, since=at) if batch.created > at else batch for batch in chain()]


@dataclass(frozen=True)
class Case:
    """Chains of one node, and the reason of each of its six windows; those that are complete have none."""

    flows: list[Batch]
    reasons: list[str]
    drops: list[Batch] = field(default_factory=chain)


WHOLE = [""] * 6
GAP = Batch(-5, 24.5, 25, next=35, gap=5)
LATE = "counting_began_late"
CASES = {
    "both chains go from before to behind": Case(chain(), WHOLE),
    "counting began in the first window": Case(chain(since=3), [LATE, *WHOLE[1:]], drops=chain(since=3)),
    "the last window is not exported yet": Case(chain(until=58), [*WHOLE[1:], "not_yet_exported"]),
    "records never came": Case(chain(at_25=GAP), ["", "", "gap", "", "", ""]),
    "packets were counted as lost": Case(losing(34), ["", "", "", "lost", "", ""]),
    "records of drops never came": Case(chain(), ["", "", "drops_gap", "", "", ""], drops=chain(at_25=GAP)),
    "drops that no record tells of": Case(chain(), ["", "", "", "drops_lost", "", ""], drops=losing(34)),
    "nothing is heard of drops": Case(chain(), ["silent"] * 6, drops=[]),
    "counting began anew in a window": Case(beginning_anew(27.2), ["", "", LATE, "", "", ""]),
    "counting began anew shortly behind a window": Case(beginning_anew(33), ["", "", LATE, LATE, "", ""]),
    "a restart that missed nothing tells its beginning by another clock": Case(
        [replace(batch, since=batch.since + 0.001 * (batch.created > 27)) for batch in chain()], WHOLE
    ),
}
COLUMNS = (
    "topic", "topic_id", "partition", "node", "ring_id", "next", "gap", "counting_since", "exported_until", "created",
    "counters",
)  # fmt: skip
STARTS = "SELECT intDiv(toUnixTimestamp(now()), 10) * 10 - 120"
"""The first window's start; all six ended a minute ago."""
REASONS = """
SELECT reason, complete FROM window_completeness
WHERE window >= toDateTime({begin:UInt32}) AND window < toDateTime({end:UInt32}) ORDER BY window
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_clickhouse(tmp_path_factory.mktemp("clickhouse")) as address:
        apply_schema(Settings.from_environment({"KNI_CLICKHOUSE": address}))
        yield address


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    made = clickhouse_connect.get_client(dsn=url, database="kubenetinsight")
    made.command("TRUNCATE TABLE completeness")
    yield made
    made.close()


def tell(client: Client, topic: str, batches: list[Batch], *, begin: int) -> None:
    """Store a node's chain."""
    rows = [
        [topic, "id", 0, "n1", f"ring-{topic}", batch.next, batch.gap]
        + [datetime.fromtimestamp(begin + each, UTC) for each in (batch.since, batch.until, batch.created)]
        + [{"lost_x": batch.lost, "exports": 9}]
        for batch in batches
    ]
    client.insert("completeness", rows, column_names=COLUMNS)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_window_is_complete_or_says_why_not(client: Client, case: Case) -> None:
    begin = int(client.query(STARTS).result_rows[0][0])
    tell(client, FLOWS, case.flows, begin=begin)
    if case.drops:
        tell(client, DROPS, case.drops, begin=begin)
    rows = client.query(REASONS, parameters={"begin": begin, "end": begin + END}).result_rows
    assert [(reason, bool(complete)) for reason, complete in rows] == [(reason, not reason) for reason in case.reasons]


def test_no_window_is_told_of_from_before_the_chain_began(client: Client) -> None:
    begin = int(client.query(STARTS).result_rows[0][0])
    first, *others = chain(since=3)
    for topic in (FLOWS, DROPS):
        tell(client, topic, [replace(first, until=2.9), *others], begin=begin)
    told = client.query("SELECT min(toUnixTimestamp(window)) FROM window_completeness").result_rows[0][0]
    assert told == begin


def summary(url: str, form: str) -> str:
    command = [sys.executable, "-m", "cli", "summary", "--output", form]
    environment = {**os.environ, "KNI_CLICKHOUSE": url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_summary_says_which_windows_are_complete_and_why_the_others_are_not(client: Client, url: str) -> None:
    begin = int(client.query(STARTS).result_rows[0][0])
    tell(client, FLOWS, chain(since=3), begin=begin)
    tell(client, DROPS, chain(since=3), begin=begin)
    first, behind = (datetime.fromtimestamp(begin + seconds, UTC) for seconds in (0, 10))
    (row,) = [
        row for line in summary(url, "json").splitlines() if (row := json.loads(line))["section"] == "Completeness"
    ]
    assert (row["node"], row["complete"], row["windows"]) == ("n1", 5, 7), "the seventh has not ended in these chains"
    late = {"reason": "counting_began_late", "since": f"{first:%FT%T}", "until": f"{behind:%FT%T}"}
    assert row["incomplete"][0] == late
    assert [each["reason"] for each in row["incomplete"]] == ["counting_began_late", "not_yet_exported"]
    *_, header, line = csv.reader(io.StringIO(summary(url, "csv")))
    assert json.loads(dict(zip(header, line, strict=True))["incomplete"]) == row["incomplete"]
    said = summary(url, "table")
    assert "5 of 7 windows" in said
    assert f"{first:%T}–{behind:%T} began before counting did" in said
