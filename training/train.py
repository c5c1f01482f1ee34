"""Train a recommender on one dataset version, evaluate it, and write its bundle: the script contract of a training job.

Hyperparameters come by argv (`--name value`, see `hyperparameters.py`), places by environment: SM_CHANNEL_DATASET,
SM_CHANNEL_INCUMBENT (optional), SM_MODEL_DIR, SM_OUTPUT_DATA_DIR, SM_OUTPUT_DIR (optional), SM_CHECKPOINT_DIR
(optional). Exit status: 0, everything is written; 1, it failed, and `failure` in SM_OUTPUT_DIR says why; 143, it was
told to stop by SIGTERM, and the checkpoint is written. Unless it is 0, SM_MODEL_DIR holds no model.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

# Asked for by cuBLAS before it gives the same sums twice; read once, when CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# Threads that wait for each other by spinning make training thirty times slower on a machine with other work to do.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from hyperparameters import Hyperparameters, InvalidHyperparameter
from ncf import bundle as bundles
from ncf import data
from ncf.bundle import BrokenBundle, Bundle, encode_json
from ncf.data import BrokenDataset, Dataset
from ncf.evaluation import Evaluation, IncumbentScorer, Scorer, difference
from ncf.golden import golden
from ncf.interface import CannotFit, Context, Diverged, Model, Progress, Stopped, kind_named
from ncf.models import als, ease, popularity
from ncf.ranking import best_first, rank, same_answer
from ncf.world import World, end, join, leave

STOPPED = 143
POPULAR_ITEMS = 100
EPOCHS = {
    "closed-form": "the model is in closed form",
    "last": "the last of {epochs} epochs is the model",
    "validation-best": "the one of {epochs} epochs at most that is best on validation is the model",
}
"""Said before the run: which epoch is the model."""
LONGEST_FAILURE = 1024
"""SageMaker shows no more characters of the failure file than these."""


class TrainingFailed(Exception):
    """The job cannot do what it was asked to; the message is for the person who reads why."""


@dataclass(frozen=True)
class Places:
    """Where the job reads and writes."""

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
    """SIGTERM: ends the process at once, except while fitting, which ends at the next step with a checkpoint."""

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


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    termination = Termination()
    signal.signal(signal.SIGTERM, termination)
    try:
        train(parse(argv), Places.from_environment(environment), termination)
    except Stopped as stopped:
        print(stopped, flush=True)
        return STOPPED
    except (TrainingFailed, InvalidHyperparameter, BrokenDataset, CannotFit, Diverged) as error:
        return _fail(str(error), environment)
    except Exception as error:
        traceback.print_exc()
        return _fail(f"training stopped on an unexpected error: {type(error).__name__}: {error}", environment)
    finally:
        leave()
    return 0


def parse(argv: Sequence[str]) -> Hyperparameters:
    """The hyperparameters in `argv`. Raises InvalidHyperparameter, naming the one at fault."""
    parser = _Parser(description="Train a recommender on one dataset version.", allow_abbrev=False)
    for parameter in dataclasses.fields(Hyperparameters):
        meaning = parameter.metadata["meaning"].replace("%", "%%")
        parser.add_argument(f"--{parameter.name}", default=argparse.SUPPRESS, help=meaning)
    known, unknown = parser.parse_known_args(argv)
    if unknown:
        raise InvalidHyperparameter(f"hyperparameter {unknown[0].removeprefix('--').split('=')[0]} is not known")
    return Hyperparameters.read(vars(known))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidHyperparameter(f"the hyperparameters cannot be read: {message}")


def train(hyperparameters: Hyperparameters, places: Places, termination: Termination) -> None:
    device = _device(hyperparameters.device)
    if not join(os.environ, device).is_first:
        # Its part is in the gradients; the first process judges and writes.
        with termination.deferred():
            _fit(
                hyperparameters, data.load(places.dataset, hyperparameters.dataset_version), device, places, termination
            )
        return
    kind = kind_named(hyperparameters.model)
    _clear(places.model)
    dataset = data.load(places.dataset, hyperparameters.dataset_version)
    with tempfile.TemporaryDirectory(prefix="training-") as scratch:
        incumbent = _load_incumbent(places.incumbent, Path(scratch) / "incumbent")
        evaluation = Evaluation(
            dataset,
            k=hyperparameters.evaluation_k,
            negatives=hyperparameters.evaluation_negatives,
            seed=hyperparameters.seed,
            device=device,
        )
        print(
            f"training {hyperparameters.model} on {device}: {len(dataset.train)} interactions, {dataset.users} users, "
            f"{dataset.items} items; {EPOCHS[kind.epoch(hyperparameters)].format(epochs=hyperparameters.epochs)}",
            flush=True,
        )
        with termination.deferred():
            model = _fit(hyperparameters, dataset, device, places, termination)
        candidate = _write_bundle(Path(scratch) / "bundle", hyperparameters, dataset, model)
        # What is measured is what was written and read back, not what is in memory.
        report = _evaluate(hyperparameters, dataset, evaluation, candidate, incumbent, device)
        try:
            _install(Path(scratch) / "bundle", places.model)
            _check_golden(bundles.load(places.model))
            report["serving"] = _latency(places.model)
            places.output_data.mkdir(parents=True, exist_ok=True)
            _put(places.output_data / "golden.json", candidate.golden)
            _put(places.output_data / "popular.json", _popular(hyperparameters, dataset))
            _put(places.output_data / "evaluation.json", report)
        except BaseException:
            _clear(places.model)
            raise
    for sentence in _better_baselines(report):
        print(sentence, flush=True)
    k, figures = hyperparameters.evaluation_k, report["candidate"]
    print(
        f"evaluation hit_rate_at_{k}={figures['sampled']['hitRate']:.4f} ndcg_at_{k}={figures['sampled']['ndcg']:.4f} "
        f"full_hit_rate_at_{k}={figures['full']['hitRate']:.4f} full_ndcg_at_{k}={figures['full']['ndcg']:.4f}",
        flush=True,
    )


def _device(wanted: str) -> torch.device:
    """The device to train on, made ready: threads, and sums that come out the same each time."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InvalidHyperparameter("hyperparameter device is cuda, and this machine has no CUDA device")
    device = torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if "OMP_NUM_THREADS" not in os.environ:
        # The steps are short: a second core gains little, and loses much when it is not free.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 4))
    if device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
    return device


def _fit(
    hyperparameters: Hyperparameters,
    dataset: Dataset,
    device: torch.device,
    places: Places,
    termination: Termination,
) -> Model:
    """Fit; if the accelerator's memory does not suffice, once more with half the batch."""

    context = Context(device=device, checkpoints=places.checkpoints, stop=lambda: termination.requested, report=_report)

    def attempt(batch_size: int) -> Model:
        return kind_named(hyperparameters.model).fit(
            dataset, dataclasses.replace(hyperparameters, batch_size=batch_size), context
        )

    try:
        return attempt(hyperparameters.batch_size)
    except torch.OutOfMemoryError:
        if World.here().size > 1:  # the others are in the middle of a step that this one will never make
            raise
        half = max(1, hyperparameters.batch_size // 2)
    print(f"warning: out of memory on {device}; trying once more with batch_size {half}", file=sys.stderr, flush=True)
    try:
        return attempt(half)
    except torch.OutOfMemoryError as error:
        raise TrainingFailed(
            f"out of memory on {device} with batch_size {hyperparameters.batch_size} and with {half}: "
            "choose a larger instance or a smaller batch_size or factors"
        ) from error


def _report(progress: Progress) -> None:
    if World.here().is_first:
        print(progress, flush=True)


def _load_incumbent(channel: Path | None, directory: Path) -> Bundle | None:
    """The serving model. One that cannot be read fails the job: a candidate must not win for want of an opponent."""
    if channel is None:
        return None
    archive = channel / "model.tar.gz"
    try:
        if not archive.is_file():
            raise BrokenBundle(archive.name, "is not in the incumbent channel")
        bundles.extract(archive, directory)
        return bundles.load(directory)
    except BrokenBundle as error:
        raise TrainingFailed(f"the incumbent cannot be read, so nothing can be compared with it: {error}") from error


def _write_bundle(directory: Path, hyperparameters: Hyperparameters, dataset: Dataset, model: Model) -> Bundle:
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
        categories=dataset.categories,
    )


def _evaluate(
    hyperparameters: Hyperparameters,
    dataset: Dataset,
    evaluation: Evaluation,
    candidate: Bundle,
    incumbent: Bundle | None,
    device: torch.device,
) -> dict[str, Any]:
    """evaluation.json."""
    outcome = evaluation.measure(candidate.model.to(device))
    report: dict[str, Any] = {
        "schemaVersion": "1.1",
        "runId": hyperparameters.run_id,
        "datasetVersion": hyperparameters.dataset_version,
        "codeVersion": hyperparameters.code_version,
        "protocol": evaluation.protocol(epoch=kind_named(hyperparameters.model).epoch(hyperparameters)),
        "candidate": {"model": candidate.model.name, **outcome.to_dict()},
        "incumbent": None,
        "baselines": {
            name: evaluation.measure(scorer).to_dict() for name, scorer in _baselines(hyperparameters, dataset, device)
        },
        "difference": None,
        "serving": None,
    }
    if incumbent is not None:
        reigning = evaluation.measure(IncumbentScorer(incumbent, dataset.user_ids, dataset.item_ids, device))
        report["incumbent"] = {
            "runId": incumbent.run_id,
            "datasetVersion": incumbent.dataset_version,
            "model": incumbent.model.name,
            **reigning.to_dict(),
        }
        report["difference"] = difference(outcome, reigning, hyperparameters.seed)
    return report


def _baselines(
    hyperparameters: Hyperparameters, dataset: Dataset, device: torch.device
) -> Iterator[tuple[str, Scorer]]:
    """What the candidate has to be worth its price beside: one after the other, so that one is held at a time."""
    context = Context(device=device)
    yield popularity.NAME, popularity.fit(dataset, hyperparameters, context)
    strong = ease.NAME if dataset.items <= ease.MAXIMUM_ITEMS else als.NAME
    if hyperparameters.model != strong:
        yield strong, kind_named(strong).fit(dataset, hyperparameters, context)


def _better_baselines(report: dict[str, Any]) -> Iterator[str]:
    """A sentence for each baseline that ranks this test set better than the candidate does."""
    candidate = report["candidate"]
    for name, baseline in report["baselines"].items():
        for protocol, words in (("sampled", "NDCG"), ("full", "full-catalogue NDCG")):
            theirs, ours = baseline[protocol]["ndcg"], candidate[protocol]["ndcg"]
            if theirs > ours:
                yield f"note: {words} is {theirs:.4f} for the baseline {name}, {ours:.4f} for this {candidate['model']}"


def _popular(hyperparameters: Hyperparameters, dataset: Dataset) -> dict[str, Any]:
    """popular.json: the answer when no endpoint answers."""
    scores = dataset.popularity.astype(float)
    return {
        "schemaVersion": "1.0",
        "runId": hyperparameters.run_id,
        "datasetVersion": hyperparameters.dataset_version,
        "itemList": [
            {"itemId": dataset.item_ids[item], "score": float(scores[item])}
            | ({"categories": dataset.categories[item]} if dataset.categories else {})
            for item in best_first(scores, POPULAR_ITEMS)
        ],
    }


def _check_golden(bundle: Bundle) -> None:
    for case in bundle.golden:
        if not same_answer(case["response"], rank(bundle, case["request"])):
            raise TrainingFailed(f"the written bundle answers a golden request differently: {case['request']}")


def _latency(model: Path) -> dict[str, Any] | None:
    """How long the model's answers take, by the server that lies beside this script in the image; None where only the
    training code was sent. Raises TrainingFailed when the server would refuse the model.
    """
    serving = Path(__file__).resolve().parents[1] / "serving"
    if not serving.is_dir():
        return None
    if str(serving) not in sys.path:
        sys.path.append(str(serving))
    # By name: training does not know the server, except for this question.
    try:
        latency, refusal = importlib.import_module("latency"), importlib.import_module("serve").CannotServe
    except Exception as error:
        raise TrainingFailed(f"the server in this image cannot be loaded: {type(error).__name__}: {error}") from error
    try:
        measured: dict[str, Any] = latency.measure(model)
    except refusal as error:
        raise TrainingFailed(f"the server would refuse this model: {error}") from error
    return measured


def _install(source: Path, target: Path) -> None:
    for name in bundles.NAMES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def _clear(directory: Path) -> None:
    """Remove the model that an earlier attempt may have left; whatever else is there would break the bundle."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in reversed(bundles.NAMES):
        (directory / name).unlink(missing_ok=True)
    if others := sorted(path.name for path in directory.iterdir()):
        raise TrainingFailed(f"SM_MODEL_DIR holds {', '.join(others[:5])}, which is no part of a model bundle")


def _put(path: Path, value: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Write JSON whole or not at all; numbers that are not finite are refused."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(encode_json(value))
    partial.replace(path)


def _fail(reason: str, environment: Mapping[str, str]) -> int:
    """Say why in one paragraph, on standard error and in the failure file."""
    paragraph = " ".join(reason.split())[:LONGEST_FAILURE]
    print(f"error: {paragraph}", file=sys.stderr, flush=True)
    if directory := environment.get("SM_OUTPUT_DIR"):
        Path(directory).mkdir(parents=True, exist_ok=True)
        (Path(directory) / "failure").write_text(paragraph + "\n", encoding="utf-8")
    return 1


if __name__ == "__main__":
    try:
        status = main(sys.argv[1:], os.environ)
    except SystemExit as asked:  # for help, or to stop
        status = int(asked.code or 0)
    end(status, os.environ)
