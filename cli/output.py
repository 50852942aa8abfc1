"""Rows to text: a table for people, one JSON object a line or CSV for programs."""

import csv
import json
import math
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Literal, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cli.clickhouse import Answer

Format = Literal["table", "json", "csv"]


def show(answer: Answer, title: str, *, form: Format) -> None:
    """Write one answer to standard output."""
    if form == "table":
        _show_table(answer, title)
    elif form == "json":
        write_json(answer, sys.stdout)
    else:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(answer.columns)
        writer.writerows([_cell(value) for value in row] for row in answer.rows)


def write_json(answer: Answer, stream: TextIO, *, extra: Iterable[tuple[str, object]] = ()) -> None:
    """One object a line, keys as the columns; `extra` pairs go first."""
    for row in answer.rows:
        pairs = zip(answer.columns, (_plain(value) for value in row), strict=True)
        stream.write(json.dumps({**dict(extra), **dict(pairs)}, ensure_ascii=False) + "\n")


def _show_table(answer: Answer, title: str) -> None:
    console = Console(width=None if sys.stdout.isatty() else 400)
    if not answer.rows:
        console.print(f"[bold]{title}[/bold]\n  nothing in this range\n" if title else "no rows")
        return
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for index, column in enumerate(answer.columns):
        numeric = all(isinstance(row[index], int | float) for row in answer.rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in answer.rows:
        table.add_row(*(_human(name, value) for name, value in zip(answer.columns, row, strict=True)))
    console.print(table)


def _plain(value: object) -> object:
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)


def _cell(value: object) -> object:
    """What has parts, as JSON: CSV has no words for it."""
    plain = _plain(value)
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, list | dict) else plain


def _human(name: str, value: object) -> str:
    if isinstance(value, int) and name.endswith("bytes"):
        return _bytes_text(value)
    if isinstance(value, int) and not isinstance(value, bool) and not name.endswith("port"):
        return f"{value:,}"
    plain = _plain(value)
    return "" if plain is None else str(plain)


def _bytes_text(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
