"""Prints the output of the commands: stages with their seconds, progress bars, tables.

On a terminal, stages and bars are animated. Elsewhere (a pipe, CI) they are plain lines: a bar has at most
ten, and what lasts is told every 15 s, later less often.
`NO_COLOR` is respected (https://no-color.org).
"""

from __future__ import annotations

import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import rich.box
import rich.console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 160
SENTENCE_WIDTH = 100
PLAIN_STEPS = 10
PLAIN_SECONDS = 15.0
"""Where lines cannot be redrawn, an activity that says nothing for so long is told in a line."""


class Show:
    """Prints all output of a command."""

    def __init__(
        self, console: rich.console.Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if console is None:
            console = rich.console.Console(highlight=False, emoji=False)
            if not console.is_terminal:
                console = rich.console.Console(highlight=False, emoji=False, width=PLAIN_WIDTH)
        self.console = console
        self.clock = clock
        self.said = clock()
        """When the last line was printed."""

    @property
    def is_live(self) -> bool:
        """True if the output is a terminal on which lines can be redrawn."""
        return self.console.is_terminal and not self.console.is_dumb_terminal

    def _print(self, text: str = "", style: str | None = None) -> None:
        self.said = self.clock()
        self.console.print(text, style=style, soft_wrap=True)

    def line(self, text: str, style: str | None = None) -> None:
        """Print one line of literal text: brackets in it are not markup."""
        self._print(escape(text), style)

    def sentences(self, texts: Iterable[str]) -> None:
        """Print sentences, such as reasons, indented; one of more than SENTENCE_WIDTH columns on several lines."""
        for text in texts:
            self.line(wrapped(text, "    "))

    def heading(self, text: str) -> None:
        self._print()
        self._print(escape(text), "bold")

    def good(self, text: str) -> None:
        self._print(f"[green]✓[/green] {escape(text)}")

    def step(self, text: str) -> None:
        self._print(f"[cyan]·[/cyan] {escape(text)}")

    def warn(self, text: str) -> None:
        self._print(f"[yellow]![/yellow] {escape(text)}")

    def bad(self, text: str) -> None:
        self._print(f"[red]✗[/red] {escape(text)}")

    @contextmanager
    def stage(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show `text` while the stage runs, then one line with its seconds. The yielded function sets the end of that
        line. On an exception, the line says that the stage failed or was stopped; the exception continues.
        """
        started = self.clock()
        note: list[str] = []
        try:
            if self.is_live:
                with self.console.status(escape(text)):
                    yield note.append
            else:
                with self._told_while_it_lasts(text, started):
                    yield note.append
        except BaseException as error:
            word = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
            self.bad(f"{text}: {word} after {self.clock() - started:.1f} s")
            raise
        ending = f": {note[-1]}" if note else ""
        self.good(f"{text}{ending} ({self.clock() - started:.1f} s)")

    @contextmanager
    def _told_while_it_lasts(self, text: str, started: float) -> Iterator[None]:
        over = threading.Event()

        def report() -> None:
            pause = PLAIN_SECONDS
            while not over.wait(pause):
                lasted = self.clock() - started
                self.step(f"{text}: {lasted:.0f} s so far")
                pause = max(PLAIN_SECONDS, lasted / 4)

        reporter = threading.Thread(target=report, daemon=True)
        reporter.start()
        try:
            yield
        finally:
            over.set()
            reporter.join()

    @contextmanager
    def activity(self) -> Iterator[Activity]:
        """Show the current activity at the bottom: a spinner with a text, and a bar while something is counted. See
        `Activity`.
        """
        if not self.is_live:
            yield Activity(self, None)
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            _BarWhenCounting(bar_width=30),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True, refresh_per_second=6) as progress:
            yield Activity(self, progress)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
        """Print a table; columns of numbers after the first are right-aligned."""
        table = Table(title=title, title_justify="left", title_style="bold", box=rich.box.SIMPLE_HEAD, pad_edge=False)
        for position, column in enumerate(columns):
            cells = [row[position] for row in rows]
            figures = position > 0 and all(cell.strip("+-%.0123456789 –") == "" for cell in cells)
            table.add_column(escape(column), justify="right" if figures else "left")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self.console.print(table)


class _BarWhenCounting(BarColumn):
    """A bar that is visible only while the task has a total."""

    def render(self, task: Task) -> Any:
        return Text("") if task.total is None else super().render(task)


class Activity:
    """The current activity. If lines cannot be redrawn, a count prints at most ten lines, and `now`, which is called
    again and again while the activity lasts, prints a line when nothing was printed for a while.
    """

    def __init__(self, show: Show, progress: Progress | None) -> None:
        self.show, self.progress = show, progress
        self.task: TaskID | None = None
        self.text = ""
        self.done = 0
        self.begun = show.clock()

    def now(self, text: str) -> None:
        """Show `text` as the current activity and reset the count."""
        if text == self.text:
            self._say_that_it_lasts()
            return
        self.text, self.done = text, 0
        self.begun = self.show.said = self.show.clock()
        if self.progress is not None:
            if self.task is not None:
                self.progress.remove_task(self.task)
            self.task = self.progress.add_task(escape(text), total=None, note="")

    def advance(self, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` steps are done. A lower `done` than before is ignored."""
        if done <= self.done:
            return
        before, self.done = self.done, done
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, completed=done, total=total, note=escape(f"{done}/{total}  {note}"))
        elif is_worth_a_line(before, done, total):
            self.show.step(f"{self.text} {done}/{total}  {note}".rstrip())

    def _say_that_it_lasts(self) -> None:
        """Print a line if the last one is PLAIN_SECONDS ago, or a quarter of what the activity has lasted."""
        moment = self.show.clock()
        lasted = moment - self.begun
        if self.progress is None and self.text and moment - self.show.said >= max(PLAIN_SECONDS, lasted / 4):
            self.show.step(f"{self.text}: {lasted:.0f} s so far")


def wrapped(text: str, indent: str = "") -> str:
    """Return `text` in lines of at most SENTENCE_WIDTH columns, the first with `indent`, the others with two more."""
    return textwrap.fill(
        text,
        SENTENCE_WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def is_worth_a_line(before: int, done: int, total: int) -> bool:
    """True if going from `before` to `done` of `total` passes a tenth, so that a whole run prints at most ten lines."""
    if done >= total or before == 0:
        return True
    return done * PLAIN_STEPS // total > before * PLAIN_STEPS // total
