"""Steps and waiting to a terminal: a spinner with the time where somebody waits, plain lines where nobody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable


class Display:
    """What a person sees while the system starts, runs and stops."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._step: Progress | None = None

    def say(self, text: str, *, style: str | None = None) -> None:
        """Lines that stay."""
        self._end_step()
        self._console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    def step(self, text: str) -> None:
        """What is being waited for, until the next call of any kind."""
        self._end_step()
        if not self._console.is_terminal:
            self._console.print(f"… {text}", style="dim", highlight=False)
            return
        self._step = self._progress()
        self._step.add_task(text, total=None)
        self._step.start()

    def wait(self, text: str, *, seconds: float, tick: Callable[[], str]) -> None:
        """A bar for as long as told; `tick` waits a moment and says what has come so far."""
        self._end_step()
        with self._progress(BarColumn()) as progress:
            progress.add_task(text, total=seconds)
            (task,) = progress.tasks
            while (elapsed := task.elapsed or 0.0) < seconds:
                progress.update(task.id, completed=elapsed, description=f"{text}: {tick()}")

    def _progress(self, *columns: BarColumn) -> Progress:
        parts = (SpinnerColumn(), TextColumn("{task.description}"), *columns, TimeElapsedColumn())
        return Progress(*parts, console=self._console, transient=True)

    def _end_step(self) -> None:
        if self._step is not None:
            self._step.stop()
            self._console.print(f"✓ {self._step.tasks[0].description}", style="dim", highlight=False)
            self._step = None

    def close(self) -> None:
        """The last step has ended."""
        self._end_step()
