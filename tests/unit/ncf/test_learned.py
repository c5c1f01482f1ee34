"""Events that a training has learned count once: in the history of a request they weigh nothing more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ncf import bundle as bundles
from ncf import ranking
from ncf.bundle import BrokenBundle, Bundle
from ncf.dataset import Pairs
from ncf.golden import golden
from ncf.ranking import rank
from ncf.recent import WithRecent
from tests.unit.ncf.test_recent import ITEMS, best, history, part, plain

UNTIL = 1_600_000_000
"""The data of the model end here; user u0 has i0 and i4 in them, i5 is held out."""
NOW = UNTIL + 3600.0


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setattr(ranking, "_now", lambda: NOW)
    return write(tmp_path, learned_until=UNTIL)


def write(directory: Path, **more: Any) -> Bundle:
    return bundles.write(
        directory,
        model=WithRecent(plain(), part()),
        user_ids=["u0", "u1"],
        item_ids=ITEMS,
        seen_indptr=np.array([0, 3, 3]),
        seen_indices=np.array([0, 4, 5], np.int32),
        popularity=np.array([3, 1, 1, 1, 2, 0]),
        run_id="run",
        dataset_version="version",
        code_version="code",
        golden=golden,
        held_out=Pairs.of(np.array([0]), np.array([5]), 2, len(ITEMS)),
        **more,
    )


def request_of(user: str, *items: tuple[str, float], kind: str = "none") -> dict[str, Any]:
    """A request of `user`, who chose each item so many seconds ago."""
    entries = [{"itemId": item, "ageSeconds": age} for item, age in items]
    return {"userId": user, "numResults": 6, "excludeSeen": kind, "history": entries}


@pytest.mark.parametrize("ago", [3601, 86_400])
def test_an_event_that_the_model_has_learned_does_not_count_again(bundle: Bundle, ago: float) -> None:
    without = rank(bundle, request_of("u0"))
    assert rank(bundle, request_of("u0", ("i0", ago), ("i4", ago)))["itemList"] == without["itemList"]


def test_an_event_after_the_data_of_the_model_counts(bundle: Bundle) -> None:
    plainly = rank(bundle, request_of("u0") | {"history": history("i0")})["itemList"]
    assert plainly != rank(bundle, request_of("u0"))["itemList"]
    assert rank(bundle, request_of("u0", ("i0", 3600)))["itemList"] == plainly
    assert rank(bundle, request_of("u0", ("i4", 3601), ("i0", 3600)))["itemList"] == plainly


@pytest.mark.parametrize("item", ["i3", "i5"])
def test_an_event_that_the_training_left_out_or_held_out_counts(bundle: Bundle, item: str) -> None:
    plainly = rank(bundle, request_of("u0") | {"history": history(item)})["itemList"]
    assert (
        rank(bundle, request_of("u0", (item, 86_400)))["itemList"]
        == plainly
        != rank(bundle, request_of("u0"))["itemList"]
    )


@pytest.mark.parametrize("user", ["nobody", "u1"])
def test_all_events_of_a_person_whom_the_model_does_not_know_count(bundle: Bundle, user: str) -> None:
    answer = rank(bundle, request_of(user, ("i0", 86_400)))
    assert answer["itemList"] == rank(bundle, request_of(user) | {"history": history("i0")})["itemList"]
    assert answer["isStranger"]


def test_what_was_learned_is_still_seen(bundle: Bundle) -> None:
    assert sorted(best(rank(bundle, request_of("u0", ("i0", 86_400), kind="any")))) == ["i1", "i2", "i3"]


def test_a_bundle_that_does_not_tell_until_when_its_data_go_counts_every_event(tmp_path: Path) -> None:
    bundle = write(tmp_path)
    assert "learnedUntil" not in bundle.manifest
    plainly = rank(bundle, request_of("u0") | {"history": history("i0")})["itemList"]
    assert rank(bundle, request_of("u0", ("i0", 86_400)))["itemList"] == plainly


def test_a_moment_before_1970_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenBundle, match="learnedUntil"):
        write(tmp_path, learned_until=-1)
