"""The documents say what the code does: names, tables and columns are compared with the source."""

import re
from pathlib import Path

import pytest

from cli.summary_queries import SUMMARY
from schemas import drop_batch, flow_batch, topics

ROOT = Path(__file__).parents[2]
WORDED = {"incomplete (UTC)"}
"""Columns that the command words for people."""


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("name", topics.ALL)
def test_every_topic_has_its_section(name):
    assert section((ROOT / "docs/kafka.md").read_text(), name).strip()


@pytest.mark.parametrize(
    ("topic", "fields"),
    [(topics.FLOWS, flow_batch.FIELDS), (topics.DROPS, drop_batch.FIELDS)],
    ids=["flows", "drops"],
)
def test_the_columns_of_a_topic_are_documented_as_they_are(topic, fields):
    rows = re.findall(
        r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|$", section((ROOT / "docs/kafka.md").read_text(), topic), re.MULTILINE
    )

    assert [(name, kind, meaning.strip()) for name, kind, meaning in rows] == [
        (field.name, str(field.type), field.meaning.strip()) for field in fields
    ]


def test_every_table_and_view_is_documented():
    created = {
        re.search(r"CREATE (?:TABLE IF NOT EXISTS|OR REPLACE VIEW) (\w+)", path.read_text())
        for path in (ROOT / "schemas/clickhouse").glob("*.sql")
    }
    documented = section((ROOT / "docs/sql.md").read_text(), "Tables and views")

    missing = [match[1] for match in created if match and f"`{match[1]}`" not in documented]
    assert missing == []


@pytest.mark.parametrize(
    "path", re.findall(r"`((?:tests|docs|examples|k8s)/[\w./-]+)`", (ROOT / "README.md").read_text())
)
def test_what_the_readme_points_to_is_there(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text()))))
def test_every_make_target_that_the_readme_names_is_there(target):
    assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_readme_shows_the_summary_as_it_is() -> None:
    shown = re.findall(r"^(\w.*)\n\n (\w.*)\n ─+$", (ROOT / "README.md").read_text(), re.MULTILINE)
    sql = {question.title: question.sql for question in SUMMARY}
    said = {title: set(re.split(r" {2,}", header.strip())) - WORDED for title, header in shown}

    assert set(said) == {"Latency", "Drops by the kernel", "Completeness"}
    missing = {
        title: [name for name in names if not re.search(rf"\b{name}\b", sql[title])] for title, names in said.items()
    }
    assert missing == {title: [] for title in said}
