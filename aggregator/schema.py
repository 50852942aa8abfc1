"""Numbered SQL files to tables, functions and views in ClickHouse: `python -m aggregator schema`.

Every statement may be run again at any time; the files are applied in the order of their numbers.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from aggregator.write import ClickHouse

if TYPE_CHECKING:
    from aggregator.settings import Settings

_COMMENT: Final = re.compile(r"^\s*--.*$\n?", re.MULTILINE)


def statements(sql: str) -> list[str]:
    """The statements of a file, without comments; each ends with a semicolon at its line's end."""
    return [text.strip() for text in re.split(r";\s*\n", _COMMENT.sub("", sql) + "\n") if text.strip()]


def schema_files() -> list[tuple[str, str]]:
    """Name and text of each file, in order."""
    found = [file for file in (files("schemas") / "clickhouse").iterdir() if file.name.endswith(".sql")]
    return sorted((file.name, file.read_text()) for file in found)


def apply_schema(settings: Settings) -> list[str]:
    """Make the database and everything in it; the names of the files applied. Raises: ClickHouseUnavailableError."""
    ClickHouse(settings, database="default").command(f"CREATE DATABASE IF NOT EXISTS {settings.clickhouse_database}")
    clickhouse = ClickHouse(settings)
    for _, sql in schema_files():
        for statement in statements(sql):
            clickhouse.command(statement)
    return [name for name, _ in schema_files()]
