"""Runs on this machine: `<output>/<run id>-<name>/`, with a run.json that says what ran and how it ended.

run.json      hyperparameters, figures, epochs, seconds, memory, code
curves.png    the learning curves
train.log     the output of the process
model/        the bundle, as in a job's model.tar.gz
output/       data/evaluation.json, data/golden.json, data/popular.json; failure
checkpoints/  the checkpoint from which a stopped run resumes
incumbent/    the model.tar.gz to compare with, until the run is finished
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from contracts import documents
from contracts.lines import Epoch

RECORD = "run.json"
FINISHED, FAILED, INTERRUPTED, RUNNING = "finished", "failed", "interrupted", "running"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]{0,39}")


class NoSuchRun(Exception):
    """A folder has no run, or its run cannot be read or resumed; the message has the reason."""


class BrokenIncumbent(Exception):
    """The given incumbent is not a model."""


@dataclass(kw_only=True)
class Run:
    """The content of run.json, where names are in camelCase. `figures` and `exit_status` are None at first. A resumed
    run has the seconds of all its parts.
    """

    run_id: str
    name: str
    dataset: str
    dataset_version: str
    hyperparameters: dict[str, Any]
    code_version: str
    commit: str | None = None
    commit_modified: bool = False
    incumbent: str | None = None
    started_at: str = ""
    status: str = RUNNING
    reason: str | None = None
    exit_status: int | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    figures: dict[str, float] | None = None
    epochs: list[Epoch] = field(default_factory=list)
    schema_version: str = "1.0"

    @property
    def model(self) -> str:
        return str(self.hyperparameters.get("model", "?"))

    def learned(self, epoch: Epoch) -> None:
        """Record an epoch. A resumed run may report one again: the last report counts."""
        self.epochs = [other for other in self.epochs if other.epoch < epoch.epoch] + [epoch]

    def measured(self, report: dict[str, Any]) -> None:
        """Copy the figures from evaluation.json."""
        candidate = report["candidate"]
        self.figures = {
            "hitRate": candidate["sampled"]["hitRate"],
            "ndcg": candidate["sampled"]["ndcg"],
            "fullHitRate": candidate["full"]["hitRate"],
            "fullNdcg": candidate["full"]["ndcg"],
            "coverage": candidate["coverage"],
        }

    def to_dict(self) -> dict[str, Any]:
        return {_camel(name): value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Run:
        """Read the output of `to_dict`. Raises KeyError or TypeError for anything else."""
        run = cls(**{known.name: document[_camel(known.name)] for known in fields(cls)})
        run.epochs = [
            Epoch(**{_EARLIER_NAMES.get(name, name): value for name, value in epoch.items()})
            for epoch in document["epochs"]
        ]
        return run


_EARLIER_NAMES = {"rate": "samples_per_second", "ndcg": "validation_ndcg"}
"""New names of the fields of an epoch in a run.json of release 0.1."""


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def create(output: Path, version: str, name: str) -> tuple[str, Path]:
    """Create a folder for the next free run id in `output`; return both."""
    output.mkdir(parents=True, exist_ok=True)
    with _locked(output):
        run_id = f"{version}-r{next_attempt(output, version)}"
        folder = output / f"{run_id}-{name}"
        folder.mkdir()
    return run_id, folder


def next_attempt(output: Path, version: str) -> int:
    """Return the greatest attempt number of `version` in `output`, plus one; the names of the runs do not matter."""
    taken = re.compile(re.escape(version) + r"-r([0-9]{1,4})(-.*)?")
    return 1 + max((int(match[1]) for path in output.glob("*") if (match := taken.fullmatch(path.name))), default=0)


def save(folder: Path, run: Run) -> None:
    """Write run.json atomically."""
    partial = folder / f"{RECORD}.partial"
    partial.write_text(json.dumps(run.to_dict(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(folder / RECORD)


def load(folder: Path) -> Run:
    """Read the run in `folder`. Raises NoSuchRun."""
    try:
        return Run.from_dict(documents.read_object((folder / RECORD).read_bytes(), "it"))
    except FileNotFoundError:
        raise NoSuchRun(f"{folder} is not a run: it has no {RECORD}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoSuchRun(f"{folder / RECORD} cannot be read: {error}") from error


def report_of(folder: Path) -> dict[str, Any]:
    """Read evaluation.json of a finished run. Raises NoSuchRun."""
    try:
        return documents.read_object((folder / "output" / "data" / "evaluation.json").read_bytes(), "it")
    except (OSError, ValueError) as error:
        raise NoSuchRun(f"the evaluation of {folder} cannot be read: {error}") from error


def every_run(output: Path) -> Iterator[tuple[Path, Run]]:
    """Yield the runs in `output`; other folders are skipped."""
    for record in sorted(output.glob(f"*/{RECORD}")):
        try:
            yield record.parent, load(record.parent)
        except NoSuchRun:
            continue


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock `folder` against other trainings. Raises NoSuchRun if it is locked already."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NoSuchRun(f"{folder} is being trained by another process") from None
        yield


def place_incumbent(given: Path, folder: Path) -> None:
    """Copy `given`, an archive or a folder with a bundle, into the run as the channel `incumbent`."""
    channel = folder / "incumbent"
    channel.mkdir(exist_ok=True)
    archive = channel / "model.tar.gz"
    found = find_incumbent(given)
    if found.is_file():
        shutil.copyfile(found, archive)
        return
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for member in sorted(path for path in found.iterdir() if path.is_file()):
            tar.add(member, member.name)


def find_incumbent(given: Path) -> Path:
    """Find the archive, or the folder with bundle.json, that `given` names or contains. Raises BrokenIncumbent."""
    if given.is_file():
        return given
    for folder in (given, given / "model"):
        if (folder / "bundle.json").is_file():
            return folder
    if (given / "model.tar.gz").is_file():
        return given / "model.tar.gz"
    raise BrokenIncumbent(
        f"the incumbent {given} is neither a model.tar.gz, nor a folder with a model.tar.gz or bundle.json, nor a "
        "finished run"
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
