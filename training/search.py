"""The search of hyperparameters for one dataset, within a time.

Each trial fits the model with some values to a part of train and measures NDCG over the full catalogue on the rest, the
validation set: it is split from train by the dataset's own protocol (`Dataset.split_again`). The test set is not used.
A parameter is searched if its declaration says so (`search=` in `ncf/parameters.py`) and it has its default.

The first trial has the hyperparameters as they are given. Each further one changes some parameters of the best so far:
half of the changes are small steps, and half are draws from all values. That is the (1+1) evolution strategy with steps
of very different lengths, which needs few trials where the start is good; docs/decisions/0041 compares others.

The best of many trials is also the luckiest. So the given hyperparameters stay unless the best trial is better by
LEAST_ERRORS standard errors of the difference, paired by user.

The same seed draws the same trials in the same order. How many fit into the time depends on the machine.

Done trials are written to `search.json` in the folder of checkpoints, and a stopped search goes on after them: only the
trial that ran is lost.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from contracts import documents
from contracts.durations import seconds_of
from ncf.dataset import BrokenDataset, Dataset
from ncf.evaluation import Evaluation, standard_error
from ncf.fitting.distributed import Processes
from ncf.interface import CannotFit, Context, Diverged, Stopped
from ncf.parameters import Among, Between, text_of
from ncf.registry import kind_named
from ncf.seeds import stream
from training.hyperparameters import Hyperparameters, InvalidHyperparameter
from training.people import draw
from training.report import AsServed

NAME = "search.json"
LEAST_ERRORS = 2.0
SHARE_MOVED = 0.3
"""Share of the parameters that a trial changes, at least one."""
STEP = 0.15
"""Standard deviation of a small step, as a share of a parameter's range."""
MOST_TRIALS = 1000
MOST_FAILURES = 10
"""If so many trials have failed and none has succeeded, the search ends: more would fail too."""
LONGEST_REASON = 300
"""Maximum length of the reason of a failed trial, in characters."""
_NOT_IN_TRIALS = ("run_id", "incumbent_digest", "search")
_ATTEMPTS = 100
"""Draws of a trial that has not been made yet; then the space counts as exhausted."""

FAILURES = (CannotFit, Diverged, ValueError, torch.OutOfMemoryError, torch.linalg.LinAlgError, MemoryError)
"""What a trial may fail with: it is counted, and the search goes on."""


@dataclass(frozen=True)
class Dimension:
    """A parameter that is searched: what is tried, its value in the first trial, and its reader."""

    values: Between | Among
    given: Any
    read: Callable[[str], Any]

    def moved(self, text: str, random: np.random.Generator) -> str:
        """Return a new value as text: one of all, or one near the value with this `text`."""
        place = float(random.random())
        if random.random() < 0.5:
            near = self.values.place_of(self.read(text)) + STEP * float(random.standard_normal())
            place = 1.0 - abs(1.0 - abs(near) % 2.0)  # reflected at both ends
        return text_of(self.values.at(place))


Space = Mapping[str, Dimension]


@dataclass(frozen=True)
class Trial:
    """One trial. `changes` are its parameters that differ from the given ones, as text."""

    changes: dict[str, str]
    seconds: float
    ndcg: float | None = None
    """The mean over users; None if the trial failed."""
    difference: tuple[float, float] | None = None
    """Mean and standard error of this trial minus the first one, by user; None if one of both failed."""
    failure: str | None = None


@dataclass
class State:
    """The done part of a search: its trials, what they took, and the gains of each user in the first trial."""

    trials: list[Trial]
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    first_gains: list[float] | None = None
    end: str | None = None
    """Why the search is over; None while it goes on."""

    @property
    def best(self) -> Trial | None:
        """The trial with the best NDCG, the earlier of equal ones."""
        done = [trial for trial in self.trials if trial.ndcg is not None]
        return max(done, key=lambda trial: trial.ndcg or 0.0, default=None)

    @property
    def chosen(self) -> Trial | None:
        """The trial whose parameters are used: the best one, or the first if the best one is not clearly better."""
        best = self.best
        if best is None or best.difference is None or best is self.trials[0]:
            return best
        mean, error = best.difference
        return best if mean > LEAST_ERRORS * error else self.trials[0]


def check(hyperparameters: Hyperparameters) -> None:
    """Raise InvalidHyperparameter if there is nothing to search, or several processes train."""
    if not hyperparameters.search:
        return
    if not _space(hyperparameters):
        raise InvalidHyperparameter(
            f"hyperparameter search: {hyperparameters.model} has no parameter left to search: omit search, or leave "
            "parameters at their defaults"
        )
    if (processes := Processes.current().size) > 1:
        raise InvalidHyperparameter(
            f"hyperparameter search needs one process, and {processes} train: search on one machine, and give the "
            "hyperparameters that it found to the training on several"
        )


def best(
    hyperparameters: Hyperparameters,
    dataset: Dataset,
    context: Context,
    say: Callable[[str], None] = print,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Hyperparameters, dict[str, Any] | None]:
    """Return the hyperparameters to train with, and `search` of evaluation.json; the given ones and None without a
    search.

    `clock` returns seconds. Raises Stopped when `context.stop` returns true; done trials are kept.
    """
    if not hyperparameters.search:
        return hyperparameters, None
    search = _Search(hyperparameters, dataset, context, say, clock)
    state = search.run()
    chosen = state.chosen
    found = hyperparameters
    if chosen is not None and chosen.changes:
        found = _with(hyperparameters, chosen.changes)
    say(f"search: {sentence(hyperparameters.search, state)}")
    return found, _to_dict(hyperparameters.search, state)


def sentence(budget: str, state: State) -> str:
    """Return how a search ended, for people."""
    failed = sum(trial.ndcg is None for trial in state.trials)
    number = len(state.trials)
    trials = f"{number} trial{'s' * (number != 1)} in {state.seconds:.0f} s of {budget}"
    if failed:
        trials += f", of which {failed} failed"
    chosen, best_trial = state.chosen, state.best
    if chosen is None or best_trial is None:
        return f"{trials}; {state.end}: the given hyperparameters are used"
    if number == 1:
        return f"{trials}; {state.end}: no other hyperparameters than the given ones were tried"
    if chosen is state.trials[0]:
        gain = "" if best_trial is chosen else f" (the best one gains {_gain(best_trial)}, which may be chance)"
        return f"{trials}; {state.end}: none is clearly better than the given hyperparameters{gain}"
    values = " ".join(f"{name}={text}" for name, text in chosen.changes.items())
    return f"{trials}; {state.end}: NDCG on validation {chosen.ndcg:.4f} ({_gain(chosen)}) with {values}"


def _gain(trial: Trial) -> str:
    if trial.difference is None:
        return "the given hyperparameters failed"
    return f"{trial.difference[0]:+.4f} ± {trial.difference[1]:.4f}"


def _to_dict(budget: str, state: State) -> dict[str, Any]:
    chosen, first = state.chosen, state.trials[0] if state.trials else None
    difference = chosen.difference if chosen else None
    return {
        "budgetSeconds": seconds_of(budget),
        "seconds": round(state.seconds, 1),
        "cpuSeconds": round(state.cpu_seconds, 1),
        "trials": len(state.trials),
        "failed": sum(trial.ndcg is None for trial in state.trials),
        "users": len(state.first_gains or []),
        "given": first.ndcg if first else None,
        "best": state.best.ndcg if state.best else None,
        "chosen": chosen.ndcg if chosen else None,
        "gain": {"mean": difference[0], "standardError": difference[1]} if difference else None,
        "parameters": chosen.changes if chosen else {},
        "sentence": sentence(budget, state),
    }


def _space(hyperparameters: Hyperparameters) -> Space:
    """Return what is searched: the parameters of the model that have their defaults."""
    kind, given = kind_named(hyperparameters.model), hyperparameters.chosen
    declared = {field.name: field for field in dataclasses.fields(kind.parameters)}
    return {
        name: Dimension(values, getattr(given, name), declared[name].metadata["read"])
        for name, values in kind.parameters.searched().items()
        if getattr(given, name) == declared[name].default
    }


def _with(hyperparameters: Hyperparameters, changes: dict[str, str]) -> Hyperparameters:
    """Return the hyperparameters with these changes. Raises ValueError if the model refuses them together."""
    declared = {field.name: field for field in dataclasses.fields(kind_named(hyperparameters.model).parameters)}
    values = {name: declared[name].metadata["read"](text) for name, text in changes.items()}
    return dataclasses.replace(hyperparameters, of_models={**hyperparameters.of_models, **values})


class _Search:
    def __init__(
        self,
        hyperparameters: Hyperparameters,
        dataset: Dataset,
        context: Context,
        say: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._given, self._dataset, self._context = hyperparameters, dataset, context
        self._say, self._clock = say, clock
        self._space = _space(hyperparameters)
        self._budget = seconds_of(hyperparameters.search)
        self._path = context.checkpoints / NAME if context.checkpoints else None
        self._state = self._read()
        # What trials compute is kept apart from the training. They share what the first one here has computed.
        self._shared: Context | None = None

    def run(self) -> State:
        state = self._state
        if state.end is not None:
            return state
        try:
            cut = self._dataset.split_again()
        except BrokenDataset as error:
            state.end = f"no trial can be measured, because {error.file} {error.reason}"
            return state
        test = draw(cut.test, cut, self._given.evaluation_users, self._given.seed)
        self._evaluation = Evaluation(
            cut, k=self._given.evaluation_k, negatives=1, seed=self._given.seed, device=self._context.device, test=test
        )
        if state.trials:
            self._say(f"search: goes on after {len(state.trials)} trials and {state.seconds:.0f} s")
        while state.end is None:
            self._step(cut)
        self._write()
        return state

    def _step(self, cut: Dataset) -> None:
        """Make one trial, or end the search."""
        state = self._state
        if state.best is None and len(state.trials) >= MOST_FAILURES:
            state.end = f"the first {MOST_FAILURES} trials failed"
            return
        if len(state.trials) >= MOST_TRIALS:
            state.end = f"{MOST_TRIALS} trials are the most"
            return
        shortest = min((trial.seconds for trial in state.trials if trial.ndcg is not None), default=0.0)
        if state.seconds >= self._budget or state.seconds + shortest > self._budget:
            state.end = "the time is used"
            return
        changes = propose(self._space, state, self._given.seed)
        if changes is None:
            state.end = "all values are tried"
            return
        began, cpu = self._clock(), time.process_time()
        deadline = began + self._budget - state.seconds
        trial = self._trial(changes, cut, began, deadline)
        state.seconds += self._clock() - began
        state.cpu_seconds += time.process_time() - cpu
        if trial is None:
            state.end = "the time is used" if state.trials else "the time is too short for one trial"
            return
        state.trials.append(trial)
        self._write()
        values = " ".join(f"{name}={text}" for name, text in changes.items()) or "as given"
        result = f"failed: {trial.failure}" if trial.ndcg is None else f"ndcg={trial.ndcg:.4f}"
        self._say(f"search: trial {len(state.trials)} {result} seconds={trial.seconds:.1f} {values}")

    def _trial(self, changes: dict[str, str], cut: Dataset, began: float, deadline: float) -> Trial | None:
        """Return the trial; None if the time ended before it. Raises Stopped."""
        context = dataclasses.replace(
            self._shared.fork() if self._shared else Context(self._context.device, warn=lambda message: None),
            stop=lambda: self._context.stop() or self._clock() > deadline,
        )
        try:
            parameters = _with(self._given, changes).chosen
            model = kind_named(self._given.model).fit(cut, parameters, context)
            scorer = AsServed(model, cut, self._context.device)
            gains = self._evaluation.measure(scorer).full_gains
        except Stopped:
            if self._context.stop():
                raise
            return None
        except FAILURES as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST_REASON]
            return Trial(changes, self._clock() - began, failure=reason)
        self._shared = self._shared or context
        if not self._state.trials:
            self._state.first_gains = gains.tolist()
        seconds = self._clock() - began
        return Trial(changes, seconds, float(gains.mean()), self._difference(gains))

    def _difference(self, gains: NDArray[np.float64]) -> tuple[float, float] | None:
        if self._state.first_gains is None:
            return None
        by_user = gains - np.array(self._state.first_gains)
        return float(by_user.mean()), standard_error(by_user)

    def _fingerprint(self) -> str:
        """Return the sha256 of all that the trials depend on but the time."""
        given = self._given.to_dict()
        values = {name: text_of(value) for name, value in given.items() if name not in _NOT_IN_TRIALS}
        space = {name: repr(vars(dimension.values)) for name, dimension in self._space.items()}
        identity = json.dumps([self._dataset.fingerprint, values, space, torch.__version__], sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()

    def _read(self) -> State:
        """Return what is done of the search; nothing if there is no file, or one of another search."""
        if self._path is None or not self._path.exists():
            return State([])
        try:
            document = documents.read_object(self._path.read_bytes(), NAME)
            if document.pop("fingerprint") != self._fingerprint():
                raise ValueError("it is of other data or hyperparameters")
            trials = [Trial(**trial) for trial in document.pop("trials")]
            return State(
                [dataclasses.replace(trial, difference=_pair(trial.difference)) for trial in trials], **document
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._context.warn(f"warning: {NAME} cannot be used, so the search starts from the beginning: {error}")
            return State([])

    def _write(self) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps({"fingerprint": self._fingerprint(), **dataclasses.asdict(self._state)}))
        partial.replace(self._path)


def _pair(numbers: Any) -> tuple[float, float] | None:
    return None if numbers is None else (float(numbers[0]), float(numbers[1]))


def propose(space: Space, state: State, seed: int) -> dict[str, str] | None:
    """Return the changes of the next trial, as text by name; None if all that were drawn are tried already."""
    if not state.trials:
        return {}
    tried = [trial.changes for trial in state.trials]
    given = {name: text_of(dimension.given) for name, dimension in space.items()}
    center = given | (state.best.changes if state.best else {})
    random = np.random.default_rng(stream(seed, f"trial {len(tried)} of the search"))
    for _ in range(_ATTEMPTS):
        is_moved = random.random(len(space)) < SHARE_MOVED
        is_moved[random.integers(len(space))] = True
        moved = [name for name, chosen in zip(space, is_moved, strict=True) if chosen]
        values = center | {name: space[name].moved(center[name], random) for name in moved}
        changes = {name: text for name, text in values.items() if text != given[name]}
        if changes not in tried:
            return changes
    return None
