"""Terminal output: a progress bar while a run trains, and the table of all runs.

If the output is no terminal, progress is at most eleven lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rich.box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from contracts.lines import Epoch, epoch_in, evaluation_in
from training.launching import runs

PLAIN_WIDTH = 140
PLAIN_LINES = 10


def console() -> Console:
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def say(console: Console, text: str, mark: str = "", style: str | None = None) -> None:
    """Print `text`; brackets in it are not markup, but `mark` may have markup."""
    console.print(f"{mark}{escape(text)}", style=style, soft_wrap=True)


@contextmanager
def progress(console: Console, model: str) -> Iterator[Callable[[str], None]]:
    """Show a training's progress; call the yielded function with each line of its output."""
    if console.is_terminal and not console.is_dumb_terminal:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            yield _Bar(bar, console, model)
    else:
        yield _Lines(console)


def note(epoch: Epoch) -> str:
    """Return an epoch's figures as text: `loss 0.2345 · 812,345 samples/s · validation NDCG 0.4321 · 12 s left`."""
    parts = [f"loss {epoch.loss:.4f}", f"{epoch.samples_per_second:,.0f} samples/s"]
    if epoch.validation_ndcg is not None:
        parts.append(f"validation NDCG {epoch.validation_ndcg:.4f}")
    if left := epoch.epochs - epoch.epoch:
        parts.append(f"{_duration(left * epoch.seconds)} left")
    return " · ".join(parts)


class _Bar:
    def __init__(self, bar: Progress, console: Console, model: str) -> None:
        self._bar, self._console = bar, console
        self._task = bar.add_task(f"{model}: starting", total=None, note="")
        self._model = model

    def __call__(self, line: str) -> None:
        if epoch := epoch_in(line):
            is_last = epoch.epoch == epoch.epochs
            self._bar.update(
                self._task,
                description=f"{self._model}: {'evaluating' if is_last else f'epoch {epoch.epoch}/{epoch.epochs}'}",
                total=epoch.epochs,
                completed=epoch.epoch,
                note=note(epoch),
            )
        elif evaluation_in(line) is not None:
            self._bar.update(self._task, description=f"{self._model}: done", note="")
        else:
            say(self._console, line, style="dim")
            self._bar.update(self._task, description=f"{self._model}: training")


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, line: str) -> None:
        if epoch := epoch_in(line):
            if epoch.epoch in (1, epoch.epochs) or epoch.epoch % max(1, -(-epoch.epochs // PLAIN_LINES)) == 0:
                say(self._console, f"epoch {epoch.epoch}/{epoch.epochs}  {note(epoch)}")
        elif evaluation_in(line) is None:
            say(self._console, line)


@dataclass(frozen=True)
class Finished:
    """A finished run with its report."""

    folder: Path
    run: runs.Run
    report: dict[str, Any]

    @property
    def protocol(self) -> tuple[Any, ...]:
        """The dataset and the measuring protocol. Figures are comparable only if these are equal."""
        protocol = self.report["protocol"]
        return self.report["datasetVersion"], protocol["testUsers"], protocol["k"], protocol["negatives"]


def finished_in(output: Path) -> tuple[list[Finished], list[tuple[Path, runs.Run]]]:
    """Return the finished runs in `output`, and the other runs."""
    finished, others = [], []
    for folder, run in runs.every_run(output):
        try:
            if run.status != runs.FINISHED or run.figures is None:
                raise runs.NoSuchRun
            finished.append(Finished(folder, run, runs.report_of(folder)))
        except runs.NoSuchRun:
            others.append((folder, run))
    return finished, others


def tables(finished: Iterable[Finished], newest: Path | None = None) -> list[Table]:
    """Return one table for each protocol, with the best NDCG first.

    The baselines of one run are below a rule: those of the run in `newest`, or else of the latest run.
    """
    groups: dict[tuple[Any, ...], list[Finished]] = {}
    for run in finished:
        groups.setdefault(run.protocol, []).append(run)
    return [_table(protocol, group, newest) for protocol, group in sorted(groups.items())]


def _table(protocol: tuple[Any, ...], group: list[Finished], newest: Path | None) -> Table:
    version, users, k, negatives = protocol
    table = Table(
        title=f"dataset {version}: {users:,} test users, {negatives} negatives each",
        title_justify="left",
        title_style="bold",
        box=rich.box.HORIZONTALS,
    )
    table.add_column("run", no_wrap=True)
    table.add_column("model", no_wrap=True)
    for heading in (f"HR@{k}", f"NDCG@{k}", f"full HR@{k}", f"full NDCG@{k}", "coverage", "seconds"):
        table.add_column(heading, justify="right")
    for one in sorted(group, key=lambda one: -one.report["candidate"]["sampled"]["ndcg"]):
        table.add_row(
            escape(one.folder.name.removeprefix(f"{version}-")),
            escape(one.run.model),
            *_cells(one.report["candidate"]),
            f"{one.run.seconds:.1f}",
            style="bold" if one.folder == newest else None,
        )
    table.add_section()
    latest = max(group, key=lambda one: (one.folder == newest, one.run.started_at))
    for name, figures in latest.report["baselines"].items():
        table.add_row("baseline", escape(name), *_cells(figures), "", style="dim")
    if len({one.report["protocol"]["seed"] for one in group}) > 1:
        table.caption = (
            "Runs with different seeds have different negatives: compare them by the full-catalogue figures."
        )
        table.caption_justify = "left"
    return table


def _cells(figures: dict[str, Any]) -> list[str]:
    sampled, full = figures["sampled"], figures["full"]
    values = (sampled["hitRate"], sampled["ndcg"], full["hitRate"], full["ndcg"], figures["coverage"])
    return [f"{value:.4f}" for value in values]


def print_runs(console: Console, output: Path, newest: Path | None = None) -> None:
    """Print the tables of the finished runs, and a line for each other run."""
    finished, others = finished_in(output)
    for table in tables(finished, newest):
        console.print()
        console.print(table)
    for folder, run in others:
        reason = f": {run.reason}" if run.reason else ""
        say(console, f"without figures: {folder.name} ({run.status}{reason})", style="dim")
    if not finished and not others:
        say(console, f"no runs in {output}")


def print_difference(console: Console, report: dict[str, Any]) -> None:
    """Print the difference between the run and its incumbent, by the paired bootstrap, if there was an incumbent."""
    if difference := report.get("difference"):
        k, confidence = report["protocol"]["k"], difference["confidence"]
        say(console, f"against {report['incumbent']['runId']} ({report['incumbent']['model']}), user by user:")
        for name, label in (("sampledNdcg", f"NDCG@{k}"), ("fullNdcg", f"full NDCG@{k}")):
            one = difference[name]
            interval = f"{confidence:.0%} between {one['lower']:+.4f} and {one['upper']:+.4f}"
            say(console, f"  {label} {one['mean']:+.4f}, {interval}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
