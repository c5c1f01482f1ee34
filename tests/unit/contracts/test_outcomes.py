"""The format of what recommendations earned: read as written, summed by any name."""

from __future__ import annotations

from typing import Any

import pytest

from contracts import outcomes
from contracts.outcomes import GROUPS, Answers, Counts, Shown, Window

OLD, NEW = "v20261121t000000z-00000001-r1", "v20261122t000000z-00000002-r1"
SERVED = Answers(OLD, "personalized", "home", "trial-1", "AllTraffic")
OTHER = Answers(NEW, "personalized", "home", "trial-1", "Other")
POPULAR = Answers(OLD, "popular")
GROUPED = tuple(Shown(group, group // 2) for group in range(GROUPS))
WINDOW = Window(
    start="2026-11-29T10:15Z",
    rows={SERVED: Counts(100, 10, 2, 59.8), OTHER: Counts(90, 12), POPULAR: Counts(7)},
    groups={("trial-1", "AllTraffic"): GROUPED},
    bots=3,
    not_attributed=4,
)


def test_a_window_is_read_as_it_was_written() -> None:
    item = {"pk": outcomes.PK, "sk": WINDOW.start, **WINDOW.to_item()}
    assert Window.from_item(item) == WINDOW
    assert Window.from_item({"sk": "2026-11-29"}) == Window(start="2026-11-29")


def test_names_that_are_empty_take_no_place() -> None:
    rows: list[dict[str, Any]] = WINDOW.to_item()["rows"]
    assert [sorted(row) for row in rows if row["source"] == "popular"] == [
        ["clicks", "impressions", "purchases", "runId", "source", "value"]
    ]


def test_rows_are_summed_by_any_name_of_their_answers() -> None:
    by_model = outcomes.total([WINDOW, WINDOW], lambda answers: answers.run_id)
    assert by_model == {OLD: Counts(214, 20, 4, 119.6), NEW: Counts(180, 24)}
    assert outcomes.total([], lambda answers: answers.run_id) == {}


def test_differences_may_be_negative_and_add_up() -> None:
    before, after = Counts(5, 3, 1, 9.99), Counts(4, 3, 2, 20.0)
    assert after - before == Counts(-1, 0, 1, 10.01)
    assert before + (after - before) == after
    assert Counts(value=0.1) + Counts(value=0.2) == Counts(value=0.3)


def test_the_rate_of_nothing_is_zero() -> None:
    assert (Counts(8, 2).rate, Counts().rate) == (0.25, 0.0)


def test_groups_of_a_trial_are_summed_by_variant_and_those_of_another_trial_left_out() -> None:
    other = Window(start="2026-11-29T10:30Z", groups={("trial-2", "Other"): GROUPED})
    found = outcomes.of_trial([WINDOW, WINDOW, other], "trial-1")
    assert found == {"AllTraffic": tuple(Shown(2 * one.impressions, 2 * one.clicks) for one in GROUPED)}


@pytest.mark.parametrize("most", [1, 2])
def test_rows_beyond_the_limit_are_counted_together_and_the_sums_by_model_stay(most: int) -> None:
    small = {Answers(NEW, "personalized", f"p{number}"): Counts(number, 1) for number in range(1, 6)}
    folded = outcomes.fold({POPULAR: Counts(50), **small}, most)
    assert folded[POPULAR] == Counts(50)
    left = Answers(NEW, "personalized", outcomes.OTHER_PLACEMENTS)
    assert folded[left] == (Counts(15, 5) if most == 1 else Counts(10, 4))
    assert outcomes.total([Window(start="", rows=folded)], lambda answers: answers.run_id)[NEW] == Counts(15, 5)
