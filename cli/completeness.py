"""Completeness of windows to words: how many are whole, and which are not and why."""

from typing import Any, Final

from cli.clickhouse import Answer

WORDS: Final = {
    "silent": "nothing was heard of the node",
    "counting_began_late": "began before counting did",
    "not_yet_exported": "records are still to come",
    "gap": "records never came",
    "lost": "packets were counted as lost",
    "drops_gap": "records of drops never came",
    "drops_lost": "some drops have no record",
}
"""By reason, as in the view window_completeness."""
_MOST: Final = 5
"""Ranges of windows that are named; the others are counted."""


def to_words(answer: Answer) -> Answer:
    """The summary's answer on completeness for people: windows in words, then the counts, then what is incomplete."""
    place = {name: number for number, name in enumerate(answer.columns)}
    counts = [name for name in answer.columns if name not in {"node", "complete", "windows", "incomplete"}]
    rows: list[tuple[object, ...]] = [
        (
            row[place["node"]],
            f"{row[place['complete']]} of {row[place['windows']]} windows",
            *(row[place[name]] for name in counts),
            _to_text(row[place["incomplete"]]),
        )
        for row in answer.rows
    ]
    return Answer(("node", "complete", *counts, "incomplete (UTC)"), rows)


def _to_text(ranges: Any) -> str:
    """A line a range: `reason`, `since` and `until` of each."""
    lines = [f"{each['since']:%H:%M:%S}–{each['until']:%H:%M:%S} {WORDS[each['reason']]}" for each in ranges[:_MOST]]
    if len(ranges) > _MOST:
        lines.append(f"and {len(ranges) - _MOST} more")
    return "\n".join(lines)
