"""How well models foresee what comes next, over the whole catalogue, by the rules of a referee.

The referee is a file with `load`, `last_items`, `after` and `measure`: it splits public data sets, ranks, and knows
nothing of this product. Each row is NDCG@10 with its standard error. `stored` is neumf without its recent part, so the
difference to `recent` is what the last items add. `cooccurrence` has neighbours alone, without a neural part.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from rich.table import Table

import ncf
from contracts.splits import GLOBAL_TIME
from ncf.dataset import Dataset, History, Pairs, Split
from ncf.interface import Model
from ncf.recent import WithRecent

SETS = ("online-retail", "ml-latest-small", "amazon-toys")
BY_TIME = ("online-retail", "ml-latest-small")
NEWEST = 50
NEIGHBOURS = 100


def referee_in(path: Path) -> ModuleType:
    """Load the referee. Raises FileNotFoundError."""
    specification = importlib.util.spec_from_file_location("referee", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def dataset_of(train: list[Any], items: int, times: list[Any] | None = None) -> Dataset:
    """Return a dataset of the items of each user, in order of time. With `times`, those of all their interactions, it
    is cut in time, and items at one time are one visit; without them there are no ties.
    """
    user = np.repeat(np.arange(len(train)), [len(own) for own in train])
    item = np.concatenate(train).astype(np.int64)
    is_tied = np.zeros(item.size, dtype=bool)
    if times is not None:
        time_of = np.concatenate([own[: len(items_of)] for own, items_of in zip(times, train, strict=True)])
        is_tied[1:] = (np.diff(user) == 0) & (np.diff(time_of) == 0)
    return Dataset(
        "benchmark",
        "benchmark",
        [str(index) for index in range(len(train))],
        [str(index) for index in range(items)],
        Pairs.of(user, item, len(train), items),
        Pairs.none(len(train)),
        np.bincount(item, minlength=items),
        np.array([own[-1] if len(own) else -1 for own in train]),
        split=Split() if times is None else Split(GLOBAL_TIME, 0),
        history=History(item.astype(np.int32), is_tied),
    )


def scorer(model: Model, dataset: Dataset) -> Callable[[Iterable[Any]], Any]:
    """Return the referee's scorer: people of whom nothing is in train are strangers with a history."""
    known = np.diff(dataset.train.indptr) > 0

    @torch.inference_mode()
    def score(cases: Iterable[Any]) -> Any:
        rows = []
        for case in cases:
            user = case.user if known[case.user] else None
            if isinstance(model, WithRecent):
                last = model.recent.last(None, case.history[-NEWEST:].tolist())
                rows.append(model.scores_of(user, last))
            elif user is None:
                rows.append(torch.as_tensor(dataset.popularity, dtype=torch.float32))
            else:
                rows.append(model.catalogue(torch.tensor([user]))[0].float())
        return torch.stack(rows).numpy()

    return score


def table(path: Path, sets: Iterable[str] = SETS, seeds: int = 1, back: int = 1) -> Table:
    """`back` 2 holds out the last item but one, for the choice of settings."""
    referee = referee_in(path)
    found = Table(
        "data", "split", "cases", "popularity", "cooccurrence", "stored", "recent", "error", "cpu-s", "weights"
    )
    for name in sets:
        data = referee.load(name)
        splits: list[tuple[str, Any, Any]] = [(f"item {back} from the end", referee.last_items(data, back), None)]
        if name in BY_TIME and back == 1:
            cases, new = referee.after(data)
            splits.append(("after 80 %", cases, new))
        for label, cases, new in splits:
            dataset = dataset_of(cases.train, cases.items, data.times if new is not None else None)
            began = time.process_time()
            fitted = [ncf.fit("neumf", dataset, seed=42 + seed, recent_neighbours=NEIGHBOURS) for seed in range(seeds)]
            seconds = (time.process_time() - began) / seeds
            others = [ncf.fit("popularity", dataset), ncf.fit("cooccurrence", dataset)]
            others += [model.stored if isinstance(model, WithRecent) else model for model in fitted]
            groups = {label: cases.cases}
            if new is not None:
                groups = {
                    f"{label}, {who}": [case for case, is_new in zip(cases.cases, new, strict=True) if is_new == wanted]
                    for who, wanted in (("known", False), ("newcomers", True))
                }
            for group, chosen in groups.items():
                some = cases._replace(cases=chosen)
                measured = [referee.measure(some, scorer(model, dataset)) for model in [*others, *fitted]]
                gains = [one["NDCG@10"] for one in measured]
                stored, ours = np.mean(gains[2 : 2 + seeds]), np.mean(gains[2 + seeds :])
                figures = [f"{figure:.4f}" for figure in (gains[0], gains[1], stored, ours, measured[-1]["NDCG error"])]
                found.add_row(name, group, str(len(chosen)), *figures, f"{seconds:.0f}", _weights(fitted[0]))
    return found


def _weights(model: Model) -> str:
    if not isinstance(model, WithRecent):
        return "none"
    fading = model.recent.fading
    return f"gain {model.recent.gain:g}, fading {float(fading[1]):.2f} after one"
