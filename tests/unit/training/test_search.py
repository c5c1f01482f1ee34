"""The search of hyperparameters: what it tries, what it uses of it, and how it ends."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ncf.dataset import BrokenDataset, Dataset, Pairs
from ncf.fitting.distributed import Processes
from ncf.interface import CannotFit, Context, Stopped
from ncf.models import cooccurrence
from ncf.parameters import Among, Between, integer, parameter
from ncf.parameters import Parameters as Base
from ncf.registry import kinds
from tests.unit.ncf.test_recency import ring
from training import search
from training.hyperparameters import Hyperparameters, InvalidHyperparameter, known
from training.search import State, Trial, best

NEEDED = {
    "run_id": "v20260102t030405z-0a1b2c3d-r1",
    "dataset_version": "v20260102t030405z-0a1b2c3d",
    "code_version": "c",
    "seed": "1",
}


class Clock:
    """A clock that a fit moves on."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Fits(list[Any]):
    """The parameters of each fit; the fits with the numbers `failing` fail."""

    failing: frozenset[int] = frozenset()


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Fits:
    """Records each fit, which takes 10 s; a fit that should stop stops."""
    made = Fits()
    kind = kinds()[cooccurrence.NAME]

    def fit(dataset: Dataset, parameters: Any, context: Context) -> Any:
        made.append(parameters)
        clock.seconds += 10.0
        if context.stop():
            raise Stopped("stopped")
        if len(made) in made.failing:
            raise CannotFit("no room")
        return kind.fit(dataset, parameters, context)

    replaced = {**kinds(), cooccurrence.NAME: dataclasses.replace(kind, fit=fit)}
    monkeypatch.setattr(search, "kind_named", replaced.__getitem__)
    return made


def given(**texts: str) -> Hyperparameters:
    return Hyperparameters.read({**NEEDED, "model": "cooccurrence", "search": "1m", **texts})


def run(clock: Clock, context: Context | None = None, data: Dataset | None = None, **texts: str) -> Any:
    said: list[str] = []
    found, report = best(given(**texts), data or ring(40), context or Context(), said.append, clock)
    return found, report, said


def test_what_a_search_tries_is_within_the_range_of_each_parameter() -> None:
    for kind in kinds().values():
        for name, values in kind.parameters.searched().items():
            read = known()[name].metadata["read"]
            for place in (0.0, 0.3, 0.999, 1.0):
                value = values.at(place)
                assert read(str(value)) == value, name
                assert 0.0 <= values.place_of(value) <= 1.0


def test_numbers_and_choices_have_places() -> None:
    assert [Between(1, 100, log=True).at(place) for place in (0.0, 0.5, 1.0)] == [1, 10, 100]
    assert Between(0.0, 0.6).at(0.5) == 0.3
    assert Between(1, 100, log=True).place_of(10) == pytest.approx(0.5)
    assert Between(1.0, 2.0).place_of(7.0) == 1.0
    assert [Among("a", "b").at(place) for place in (0.0, 0.49, 0.5, 1.0)] == ["a", "a", "b", "b"]
    assert Among(1, 2).place_of(2) == 0.75
    for wrong in (lambda: Between(2, 1), lambda: Between(0, 1, log=True), lambda: Among(1)):
        with pytest.raises(ValueError, match="search"):
            wrong()


def test_a_new_model_is_searched_by_the_declaration_of_its_parameters() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Parameters(Base):
        width: int = parameter("Width, 1 to 9.", integer(1, 9), 2, search=Between(1, 9))
        depth: int = parameter("Depth, 1 to 9.", integer(1, 9), 2)

    assert list(Parameters.searched()) == ["width"]
    assert Base.searched() == {}


def test_the_first_trial_is_as_given_and_the_time_ends_the_search(clock: Clock, fits: Fits) -> None:
    _, report, said = run(clock)
    assert fits[0] == given().chosen
    assert (report["trials"], report["failed"], report["seconds"], report["budgetSeconds"]) == (6, 0, 60.0, 60)
    assert len({json.dumps(dataclasses.asdict(each)) for each in fits}) == 6, "no trial is made twice"
    assert "6 trials in 60 s of 1m; the time is used" in report["sentence"]
    assert said[0].startswith("search: trial 1 ndcg=")


def test_a_clearly_better_trial_is_used(clock: Clock, fits: Fits) -> None:
    found, report, _ = run(clock, data=ring(60), search="3m", cooccurrence_decay="1.0")
    assert report["chosen"] >= report["given"]
    assert report["gain"]["mean"] == pytest.approx(report["chosen"] - report["given"])
    assert set(report["parameters"]) <= {"cooccurrence_window", "cooccurrence_neighbours"}, (
        "what was given otherwise stays"
    )
    for name, text in report["parameters"].items():
        assert str(getattr(found.chosen, name)) == text


def trial(ndcg: float | None, difference: tuple[float, float] | None, **changes: str) -> Trial:
    return Trial(changes, 1.0, ndcg, difference, None if ndcg is not None else "it failed")


def test_the_given_hyperparameters_stay_unless_the_best_is_clearly_better() -> None:
    first = trial(0.10, (0.0, 0.0))
    lucky, better = trial(0.12, (0.02, 0.011), a="1"), trial(0.13, (0.03, 0.01), a="2")
    assert State([first, lucky]).chosen is first
    assert "may be chance" in search.sentence("1m", State([first, lucky], end="the time is used"))
    assert State([first, lucky, better]).chosen is better
    assert "NDCG on validation 0.1300 (+0.0300 ± 0.0100) with a=2" in search.sentence("1m", State([first, better]))


def test_where_the_given_hyperparameters_fail_the_best_trial_is_used() -> None:
    failed, other = trial(None, None), trial(0.1, None, a="1")
    assert State([failed, other]).chosen is other
    assert "the given hyperparameters failed" in search.sentence("1m", State([failed, other]))


def test_a_trial_that_fails_is_counted_and_skipped(clock: Clock, fits: Fits) -> None:
    fits.failing = frozenset({3})
    _, report, said = run(clock)
    assert (report["failed"], report["trials"]) == (1, 6)
    assert any("failed: CannotFit: no room" in line for line in said)
    assert "of which 1 failed" in report["sentence"]


def test_all_trials_may_fail(clock: Clock, fits: Fits) -> None:
    fits.failing = frozenset(range(1, 7))
    found, report, _ = run(clock)
    assert found == given()
    assert (report["trials"], report["failed"], report["best"], report["gain"]) == (6, 6, None, None)
    assert report["sentence"].endswith("the given hyperparameters are used")


def test_trials_that_all_fail_and_too_many_ones_end_the_search(
    clock: Clock, fits: Fits, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits.failing = frozenset(range(1, 30))
    sentence = run(clock, search="1h")[1]["sentence"]
    assert "10 trials in 100 s of 1h, of which 10 failed; the first 10 trials failed" in sentence
    fits.failing, clock.seconds, fits[:] = frozenset(), 0.0, []
    monkeypatch.setattr(search, "MOST_TRIALS", 3)
    assert "3 trials in 30 s of 1h; 3 trials are the most" in run(clock, search="1h")[1]["sentence"]


def test_a_time_too_short_for_one_trial_trains_as_given_and_says_so(clock: Clock, fits: Fits) -> None:
    found, report, said = run(clock, search="9s")
    assert found == given(search="9s")
    assert (report["trials"], report["given"], report["parameters"]) == (0, None, {})
    assert said[-1] == (
        "search: 0 trials in 10 s of 9s; the time is too short for one trial: the given hyperparameters are used"
    )


def test_a_trial_that_the_end_of_the_time_stops_does_not_count(clock: Clock, fits: Fits) -> None:
    _, report, _ = run(clock, search="19s")
    assert (report["trials"], report["seconds"]) == (1, 10.0), "the next one would not end in time"
    clock.seconds = 0.0
    _, report, _ = run(clock, search="25s")
    assert report["trials"] == 2


def test_the_same_seed_makes_the_same_trials(clock: Clock, fits: Fits) -> None:
    run(clock)
    first = list(fits)
    clock.seconds, fits[:] = 0.0, []
    run(clock)
    assert fits == first
    clock.seconds, fits[:] = 0.0, []
    run(clock, search="30s")
    assert fits == first[:3], "less time makes fewer of the same trials"
    clock.seconds, fits[:] = 0.0, []
    run(clock, seed="2")
    assert fits[1:] != first[1:]


def test_a_stopped_search_goes_on_after_the_trials_that_are_done(clock: Clock, fits: Fits, tmp_path: Path) -> None:
    run(clock)
    whole = list(fits)
    clock.seconds, fits[:] = 0.0, []
    killed = Context(checkpoints=tmp_path, stop=lambda: len(fits) == 3)
    with pytest.raises(Stopped):
        run(clock, killed)
    assert fits == whole[:3]
    fits[:] = []
    _, report, said = run(clock, Context(checkpoints=tmp_path))
    assert said[0] == "search: goes on after 2 trials and 20 s"
    assert fits == whole[2:], "the trial that ran is made again"
    assert (report["trials"], report["seconds"]) == (6, 60.0)
    fits[:] = []
    assert run(clock, Context(checkpoints=tmp_path))[1] == report, "a search that has ended is not made again"
    assert fits == []


@pytest.mark.parametrize("content", ["", "{}", '{"fingerprint": "other", "trials": []}', '{"trials": 3}'])
def test_a_record_of_another_search_or_a_damaged_one_is_not_used(
    clock: Clock, fits: Fits, tmp_path: Path, content: str
) -> None:
    (tmp_path / search.NAME).write_text(content)
    warned: list[str] = []
    _, report, _ = run(clock, Context(checkpoints=tmp_path, warn=warned.append))
    assert report["trials"] == 6
    assert warned[0].startswith("warning: search.json cannot be used, so the search starts from the beginning")


def test_all_values_may_be_tried_before_the_end_of_the_time(
    clock: Clock, fits: Fits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cooccurrence.Parameters, "searched", classmethod(lambda cls: {"cooccurrence_neighbours": Among(100, 50)})
    )
    _, report, _ = run(clock, search="1h")
    assert report["trials"] == 2
    assert "all values are tried" in report["sentence"]


def test_a_search_looks_at_a_part_of_train_and_never_at_the_test(clock: Clock, fits: Fits) -> None:
    train = ring(40)

    def tested_on(distance: int) -> Dataset:
        item = (train.history.item[train.train.indptr[:-1]].astype(np.int64) + distance) % train.items
        return dataclasses.replace(train, test=Pairs.of(np.arange(40), item, 40, train.items))

    data, other = tested_on(20), tested_on(25)
    assert not np.array_equal(data.test.item, other.test.item)
    first = run(clock, data=data)
    clock.seconds = 0.0
    second = run(clock, data=other)
    assert second[0] == first[0]
    assert second[1] == first[1] | {"cpuSeconds": second[1]["cpuSeconds"]}


def test_a_dataset_with_nothing_to_spare_trains_as_given(
    clock: Clock, fits: Fits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def split_again(self: Dataset) -> Dataset:
        raise BrokenDataset("train/", "has one hour of interactions")

    monkeypatch.setattr(Dataset, "split_again", split_again)
    found, report, _ = run(clock)
    assert (found, report["trials"], fits) == (given(), 0, [])
    assert "no trial can be measured, because train/ has one hour of interactions: the" in report["sentence"]


@pytest.mark.parametrize("text", ["10", "-1m", "abc", "0s", "1.5h", "25h", "10 m", "1441m", "٣m"])
def test_a_bad_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidHyperparameter, match="hyperparameter search must be a length of time from 1s to 24h"):
        given(search=text)


def test_a_model_without_anything_to_search_is_refused() -> None:
    with pytest.raises(InvalidHyperparameter, match="popularity has no parameter left to search"):
        search.check(given(model="popularity"))
    search.check(given(model="popularity", search=""))
    search.check(given())


def test_no_search_changes_nothing() -> None:
    assert best(given(search=""), ring(40), Context()) == (given(search=""), None)


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Processes, "current", lambda: Processes(0, 2))
    with pytest.raises(InvalidHyperparameter, match="needs one process, and 2 train"):
        search.check(given())
