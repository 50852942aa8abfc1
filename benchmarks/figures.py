"""Measurements to a table: each figure beside its goal, and beside a baseline of the same run.

Absolute times depend on the machine and its load, so the ratio to the baseline is what two runs can be compared by. A
goal that was missed is printed as MISSED: a benchmark fails only when it cannot measure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measurement: `at_most` or `at_least` is its goal; the baseline is in the same unit."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    baseline: float | None = None
    baseline_name: str = ""

    @property
    def is_missed(self) -> bool:
        """Whether it is on the wrong side of its goal."""
        too_much = self.at_most is not None and self.value > self.at_most
        return too_much or (self.at_least is not None and self.value < self.at_least)

    @property
    def goal(self) -> str:
        """The goal in words; empty when the figure is only to be known."""
        if self.at_most is not None:
            return f"≤ {_text(self.at_most)}"
        return f"≥ {_text(self.at_least)}" if self.at_least is not None else ""

    @property
    def verdict(self) -> str:
        """What is printed beside the goal."""
        return "MISSED" if self.is_missed else "ok" if self.goal else ""


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print the table."""
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in ("figure", "measured", "unit", "goal", "", "baseline", "", "ratio"):
        table.add_column(column, justify="right" if column in {"measured", "goal", "baseline", "ratio"} else "left")
    for figure in figures:
        ratio = "" if not figure.baseline else f"{figure.value / figure.baseline:.2f}"
        baseline = "" if figure.baseline is None else _text(figure.baseline)
        row = (figure.name, _text(figure.value), figure.unit, figure.goal, figure.verdict)
        table.add_row(*row, baseline, figure.baseline_name, ratio)
    Console(width=160).print(table)


def _text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}".rstrip("0").rstrip(".")
