"""Windows that are complete or not, as the summary says it to people."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.clickhouse import Answer
from cli.completeness import WORDS, to_words

VIEW = Path(__file__).parents[2] / "schemas/clickhouse/106_window_completeness.sql"
COLUMNS = ("node", "complete", "windows", "lost_packets", "incomplete")
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def since_noon(reason: str, begin: int, end: int) -> dict[str, object]:
    return {"reason": reason, "since": NOON + timedelta(seconds=begin), "until": NOON + timedelta(seconds=end)}


def test_it_says_how_many_windows_are_complete_and_why_the_others_are_not() -> None:
    said = to_words(
        Answer(
            COLUMNS,
            [
                ("n1", 2, 4, 0, [since_noon("counting_began_late", 0, 10), since_noon("lost", 20, 30)]),
                ("n2", 4, 4, 0, []),
            ],
        )
    )
    assert said.columns == ("node", "complete", "lost_packets", "incomplete (UTC)")
    assert said.rows == [
        (
            "n1",
            "2 of 4 windows",
            0,
            "12:00:00–12:00:10 began before counting did\n12:00:20–12:00:30 packets were counted as lost",
        ),
        ("n2", "4 of 4 windows", 0, ""),
    ]


def test_of_many_ranges_some_are_named_and_the_others_counted() -> None:
    ranges = [since_noon("silent", 20 * n, 20 * n + 10) for n in range(8)]
    ((*_, text),) = to_words(Answer(COLUMNS, [("n1", 8, 16, 0, ranges)])).rows
    lines = str(text).splitlines()
    assert lines[0] == "12:00:00–12:00:10 nothing was heard of the node"
    assert (len(lines), lines[-1]) == (6, "and 3 more")


def test_every_reason_of_the_view_has_words() -> None:
    chosen = VIEW.read_text().partition("multiIf(")[2].partition("AS reason")[0]
    assert set(re.findall(r"'(\w+)'", chosen)) == set(WORDS)
