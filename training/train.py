"""Train a recommender on one dataset version, evaluate it, and write its bundle.

This is the script contract of a training job. Hyperparameters are command-line arguments (`--name value`, see
`hyperparameters.py`). Folders are environment variables: SM_CHANNEL_DATASET, SM_CHANNEL_INCUMBENT (optional),
SM_MODEL_DIR, SM_OUTPUT_DATA_DIR, SM_OUTPUT_DIR (optional), SM_CHECKPOINT_DIR (optional).

Exit status:
- 0: all files are written;
- 1: the training failed, and the file `failure` in SM_OUTPUT_DIR has the reason;
- 143: SIGTERM stopped the training, and the checkpoint is written.
If the status is not 0, SM_MODEL_DIR has no model.

`python -m training.train` trains without the server's code: `serving` in evaluation.json is null, and the gate rejects
such a report. `container/job.py` is the training job with the measurement of the server.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

# cuBLAS needs it to give the same sums twice; it is read once, when CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# Threads that wait by spinning make training thirty times slower on a machine with other work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from contracts import lines
from contracts.golden import differences
from contracts.lines import Epoch
from ncf import bundle as bundles
from ncf import dataset_files
from ncf.attributes import give_vectors
from ncf.bundle import BrokenBundle, Bundle, encode_json
from ncf.dataset import BrokenDataset, Dataset
from ncf.evaluation import Evaluation
from ncf.fitting.distributed import Disconnected, Processes, end, join, leave
from ncf.golden import golden
from ncf.interface import CannotFit, Context, Diverged, Model, Stopped
from ncf.ranking import best_first, rank
from ncf.registry import kind_named
from training import data_change, search
from training import hyperparameters as declarations
from training import incumbent as incumbents
from training import report as reports
from training.hyperparameters import Hyperparameters, InvalidHyperparameter
from training.people import choose

STOPPED = 143
"""Exit status after SIGTERM."""
POPULAR_ITEMS = 100
"""Maximum number of items in popular.json."""
EPOCHS = {
    "closed-form": "the model has a closed-form solution, without epochs",
    "last": "the model is the last of {epochs} epochs",
    "validation-best": "the model is the best on validation of at most {epochs} epochs",
}
"""The epoch that becomes the model, as text that is printed before training."""
LONGEST_FAILURE = 1024
"""Maximum length of the failure file, in characters: SageMaker shows no more."""

MeasureServing = Callable[[Path], dict[str, Any]]
"""Returns `serving` of evaluation.json, the server's latency, for the bundle in a directory. Raises TrainingFailed if
the server would refuse the bundle."""


class TrainingFailed(Exception):
    """The training job failed; the message tells the operator why."""


@dataclass(frozen=True)
class Places:
    """The folders from which the job reads and to which it writes."""

    dataset: Path
    incumbent: Path | None
    model: Path
    output_data: Path
    checkpoints: Path | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Places:
        required = ("SM_CHANNEL_DATASET", "SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR")
        if missing := [name for name in required if not environment.get(name)]:
            raise TrainingFailed(f"the environment lacks {', '.join(missing)}")
        incumbent, checkpoints = environment.get("SM_CHANNEL_INCUMBENT"), environment.get("SM_CHECKPOINT_DIR")
        return cls(
            dataset=Path(environment["SM_CHANNEL_DATASET"]),
            incumbent=Path(incumbent) if incumbent else None,
            model=Path(environment["SM_MODEL_DIR"]),
            output_data=Path(environment["SM_OUTPUT_DATA_DIR"]),
            checkpoints=Path(checkpoints) if checkpoints else None,
        )


class Termination:
    """The handler of SIGTERM. It ends the process at once; during a fit, at the next step after a checkpoint."""

    def __init__(self) -> None:
        self.requested = False
        self._deferred = False

    def __call__(self, signum: int, frame: object) -> None:
        self.requested = True
        if not self._deferred:
            raise SystemExit(STOPPED)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.requested:
            raise SystemExit(STOPPED)


def main(argv: Sequence[str], environment: Mapping[str, str], measure_serving: MeasureServing | None = None) -> int:
    """Run one training job and return its exit status."""
    termination = Termination()
    signal.signal(signal.SIGTERM, termination)
    try:
        train(parse(argv), Places.from_environment(environment), termination, measure_serving)
    except Stopped as stopped:
        print(stopped, flush=True)
        return STOPPED
    except (TrainingFailed, InvalidHyperparameter, BrokenDataset, CannotFit, Diverged, Disconnected) as error:
        return _fail(str(error), environment)
    except Exception as error:
        traceback.print_exc()
        return _fail(f"training stopped on an unexpected error: {type(error).__name__}: {error}", environment)
    finally:
        leave()
    return 0


def parse(argv: Sequence[str]) -> Hyperparameters:
    """Read the hyperparameters in `argv`. Raises InvalidHyperparameter with the name of the invalid one."""
    parser = _Parser(description="Train a recommender on one dataset version.", allow_abbrev=False)
    for name, parameter in declarations.known().items():
        meaning = parameter.metadata["meaning"].replace("%", "%%")
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS, help=meaning)
    known, unknown = parser.parse_known_args(argv)
    if unknown:
        raise InvalidHyperparameter(f"hyperparameter {unknown[0].removeprefix('--').split('=')[0]} is not known")
    return Hyperparameters.read(vars(known))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidHyperparameter(f"the hyperparameters cannot be read: {message}")


def train(
    hyperparameters: Hyperparameters,
    places: Places,
    termination: Termination,
    measure_serving: MeasureServing | None = None,
) -> None:
    device = _device(hyperparameters.device)
    processes = join(os.environ, device)
    search.check(hyperparameters)
    if not processes.is_first:
        # This process contributes gradients; only the first one evaluates and writes.
        dataset = dataset_files.load(places.dataset, hyperparameters.dataset_version)
        with termination.deferred():
            _fit(hyperparameters, dataset, _context(device, places, termination))
        return
    _clear(places.model)
    dataset = dataset_files.load(places.dataset, hyperparameters.dataset_version)
    with tempfile.TemporaryDirectory(prefix="training-") as scratch:
        incumbent = _load_incumbent(places.incumbent, Path(scratch) / "incumbent", hyperparameters.incumbent_digest)
        if incumbent is not None:
            data_change.require_appended(dataset, incumbent)
        people = choose(dataset, incumbent, hyperparameters.evaluation_users, hyperparameters.seed)
        evaluation = Evaluation(
            dataset,
            test=people.test,
            with_repeats=people.with_repeats,
            k=hyperparameters.evaluation_k,
            negatives=hyperparameters.evaluation_negatives,
            seed=hyperparameters.seed,
            device=device,
        )
        print(
            f"training {hyperparameters.model} on {device}: {len(dataset.train)} interactions, {dataset.users} users, "
            f"{dataset.items} items; {_which_epoch(hyperparameters, dataset)}",
            flush=True,
        )
        context = _context(device, places, termination)
        with termination.deferred():
            hyperparameters, searched = search.best(hyperparameters, dataset, context, _say)
            model = _fit(hyperparameters, dataset, context)
        if (given := give_vectors(dataset, model)) is not None:
            print(given, flush=True)
        described = given.described if given else 0
        candidate = _write_bundle(Path(scratch) / "bundle", hyperparameters, dataset, model, described)
        # The written bundle is measured, not the model in memory.
        machines = processes.size // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        report = reports.evaluate(hyperparameters, dataset, evaluation, candidate, incumbent, context, machines)
        report["search"] = searched
        report["people"] = people.to_dict()
        report["data"] = data_change.compare(dataset, incumbent) if incumbent else None
        try:
            _install(Path(scratch) / "bundle", places.model)
            _check_golden(bundles.load(places.model))
            report["serving"] = measure_serving(places.model) if measure_serving else None
            places.output_data.mkdir(parents=True, exist_ok=True)
            _put(places.output_data / "golden.json", candidate.golden)
            _put(places.output_data / "popular.json", _popular(hyperparameters, dataset))
            _put(places.output_data / "evaluation.json", report)
        except BaseException:
            _clear(places.model)
            raise
    for sentence in reports.better_baselines(report):
        print(sentence, flush=True)
    k, figures = hyperparameters.evaluation_k, report["candidate"]
    sampled, full = ((figures[part]["hitRate"], figures[part]["ndcg"]) for part in ("sampled", "full"))
    print(lines.evaluation(k, sampled, full), flush=True)


def _which_epoch(hyperparameters: Hyperparameters, dataset: Dataset) -> str:
    chosen = hyperparameters.chosen
    epoch = kind_named(hyperparameters.model).epoch(chosen, dataset)
    return EPOCHS[epoch].format(epochs=getattr(chosen, "epochs", "its"))


def _device(wanted: str) -> torch.device:
    """The device to train on, set up for reproducible sums and a sensible number of threads."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InvalidHyperparameter("hyperparameter device is cuda, and this machine has no CUDA device")
    device = torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if "OMP_NUM_THREADS" not in os.environ:
        # The steps are short: a second core gains little, and waiting for a busy one costs much.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 4))
    if device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
    return device


def _context(device: torch.device, places: Places, termination: Termination) -> Context:
    return Context(device, places.checkpoints, stop=lambda: termination.requested, report=_report, warn=_warn)


def _fit(hyperparameters: Hyperparameters, dataset: Dataset, context: Context) -> Model:
    try:
        return kind_named(hyperparameters.model).fit(dataset, hyperparameters.chosen, context)
    except torch.OutOfMemoryError as error:
        raise TrainingFailed(
            f"out of memory on {context.device}: choose a larger instance or a smaller model"
        ) from error


def _warn(message: str) -> None:
    """Print a warning to standard error, and the first process's notes to standard output, as those of the report."""
    is_note = message.startswith("note: ")
    if not is_note or Processes.current().is_first:
        print(message, file=sys.stdout if is_note else sys.stderr, flush=True)


def _say(line: str) -> None:
    print(line, flush=True)


def _report(progress: Epoch) -> None:
    if Processes.current().is_first:
        print(progress, flush=True)


def _load_incumbent(channel: Path | None, directory: Path, digest: str) -> Bundle | None:
    """Load the incumbent, if there is one. Raises TrainingFailed if it cannot be read or is not the bundle with
    `digest`: without a comparison with the model that serves, a worse candidate could replace it.
    """
    if channel is None:
        return None
    try:
        return incumbents.load(channel, directory, digest)
    except BrokenBundle as error:
        raise TrainingFailed(
            f"the incumbent cannot be read, so the model cannot be compared with it: {error}"
        ) from error


def _write_bundle(
    directory: Path, hyperparameters: Hyperparameters, dataset: Dataset, model: Model, described_items: int
) -> Bundle:
    seen = dataset.everything()
    return bundles.write(
        directory,
        model=model,
        user_ids=dataset.user_ids,
        item_ids=dataset.item_ids,
        seen_indptr=seen.indptr,
        seen_indices=seen.item.astype("int32"),
        popularity=dataset.popularity,
        run_id=hyperparameters.run_id,
        dataset_version=hyperparameters.dataset_version,
        code_version=hyperparameters.code_version,
        golden=golden,
        held_out=dataset.test,
        categories=dataset.categories,
        event_types=dataset.event_types,
        fields=dataset.fields,
        withdrawn=dataset.withdrawn,
        described_items=described_items,
        is_bought=dataset.everything_bought(),
        learned_until=dataset.learned_until,
    )


def _popular(hyperparameters: Hyperparameters, dataset: Dataset) -> dict[str, Any]:
    """Return popular.json, the answer of the API when the endpoint does not answer, without withdrawn items."""
    scores = dataset.popularity.astype(float)
    scores[dataset.withdrawn] = -1.0
    return {
        "schemaVersion": "1.0",
        "runId": hyperparameters.run_id,
        "datasetVersion": hyperparameters.dataset_version,
        "itemList": [
            {"itemId": dataset.item_ids[item], "score": float(scores[item])}
            | ({"categories": dataset.categories[item]} if dataset.categories else {})
            | ({"fields": fields} if (fields := dataset.fields.of(item)) else {})
            for item in best_first(scores, POPULAR_ITEMS)
            if scores[item] >= 0
        ],
    }


def _check_golden(bundle: Bundle) -> None:
    if found := differences(bundle.golden, lambda request: rank(bundle, request)):
        raise TrainingFailed(f"the written bundle does not give the recorded answers: {'; '.join(found)}")


def _install(source: Path, target: Path) -> None:
    for name in bundles.NAMES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def _clear(directory: Path) -> None:
    """Remove the model of an earlier attempt. Raises TrainingFailed if there are other files."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in reversed(bundles.NAMES):
        (directory / name).unlink(missing_ok=True)
    if others := sorted(path.name for path in directory.iterdir()):
        raise TrainingFailed(f"SM_MODEL_DIR has files that are not part of a model bundle: {', '.join(others[:5])}")


def _put(path: Path, value: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Write JSON atomically. Raises ValueError for a number that is not finite."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(encode_json(value))
    partial.replace(path)


def _fail(reason: str, environment: Mapping[str, str]) -> int:
    """Write the reason as one paragraph to standard error and to the failure file, and return the exit status."""
    paragraph = " ".join(reason.split())[:LONGEST_FAILURE]
    print(f"error: {paragraph}", file=sys.stderr, flush=True)
    if directory := environment.get("SM_OUTPUT_DIR"):
        Path(directory).mkdir(parents=True, exist_ok=True)
        (Path(directory) / "failure").write_text(paragraph + "\n", encoding="utf-8")
    return 1


def run(argv: Sequence[str], environment: Mapping[str, str], measure_serving: MeasureServing | None = None) -> NoReturn:
    """Run `main` and end this process with its exit status."""
    try:
        status = main(argv, environment, measure_serving)
    except SystemExit as ended:  # after --help, or by SIGTERM
        status = int(ended.code or 0)
    end(status)


if __name__ == "__main__":
    run(sys.argv[1:], os.environ)
