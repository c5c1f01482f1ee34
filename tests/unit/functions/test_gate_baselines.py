"""Baselines in the gate: their limits, losses that chance explains, and notes of better ones."""

from __future__ import annotations

import pytest

from evaluate import gate, notes
from evaluate.policy import Policy
from tests.unit.functions.test_gate import FIRST, FOUR, LATER, POLICY, changed, figures, later, report, sliced


def test_a_baseline_has_its_own_limit_or_that_of_the_others() -> None:
    document = changed(later(), "baselines.ease.full.ndcg", 0.08)
    assert gate.judge(document, POLICY, LATER).outcome == "REJECTED"
    policy = Policy.from_document({"baselineGains": {"ease": {"fullNdcg": -0.5}}})
    assert gate.judge(document, policy, LATER).outcome == "ACCEPTED"


@pytest.mark.parametrize(("error", "outcome"), [(0.0, "REJECTED"), (0.003, "ACCEPTED"), (0.0028, "REJECTED")])
def test_a_loss_to_a_baseline_fails_only_where_chance_does_not_explain_it(error: float, outcome: str) -> None:
    """0.06 is 0.0048 below what is allowed against 0.072; an error of 0.003 explains 0.0049, one of 0.0028 0.0046."""
    document = changed(later(), "baselines.ease.full.ndcg", 0.072)
    change = {"mean": -0.012, "standardError": error}
    document["baselines"]["ease"]["difference"] = dict.fromkeys(FOUR, change)
    verdict = gate.judge(document, POLICY, LATER)
    assert verdict.outcome == outcome
    words = "against 0.0720 of the baseline ease (-16.7%); loss of 10% beyond chance allowed"
    found = [check.sentence for check in verdict.checks if check.name == "baseline.ease.fullNdcg"]
    assert (words in found[0]) == (error > 0)


def test_chance_excuses_no_missing_gain_over_popularity() -> None:
    document = changed(report(), "baselines.popularity.full.ndcg", 0.0599)
    document["baselines"]["popularity"]["difference"] = {name: {"mean": 0.0001, "standardError": 0.02} for name in FOUR}
    assert gate.judge(document, POLICY, FIRST).outcome == "REJECTED"


def test_a_model_of_the_kind_of_a_baseline_must_not_be_worse_than_that_baseline() -> None:
    document = changed(changed(later(), "candidate.model", "ease"), "baselines.ease.full.ndcg", 0.08)
    assert gate.judge(document, POLICY, LATER).outcome == "REJECTED"


def test_co_occurrence_is_a_note_unless_the_policy_sets_a_limit() -> None:
    document = later()
    document["baselines"]["cooccurrence"] = figures(0.2, 0.09)
    document["baselines"]["another"] = figures(0.2, 0.06)
    verdict = gate.judge(document, POLICY, LATER)
    assert verdict.outcome == "ACCEPTED"
    assert (
        "note: the baseline cooccurrence is better than this model: NDCG at 10 is 0.0900 against 0.0600; "
        "a limit would be baselineGains.cooccurrence.fullNdcg of the policy"
    ) in verdict.reasons
    strict = Policy.from_document({"baselineGains": {"cooccurrence": {"fullNdcg": -0.3}}})
    verdict = gate.judge(document, strict, LATER)
    assert verdict.outcome == "REJECTED"
    assert verdict.reasons[0] == (
        "NDCG at 10 is 0.0600 against 0.0900 of the baseline cooccurrence (-33.3%); loss of 30% allowed"
    )
    assert not any(reason.startswith("note:") for reason in verdict.reasons)
    weaker = changed(document, "baselines.cooccurrence.full.ndcg", 0.06)
    assert not any(reason.startswith("note:") for reason in gate.judge(weaker, POLICY, LATER).reasons)


def test_by_default_repeats_gate_nothing_and_a_better_baseline_on_them_is_a_note() -> None:
    document = later()
    document["baselines"]["own_items"] = {**figures(0.04, 0.06), "slices": sliced(0.02)}
    document["baselines"]["own_items"]["slices"]["withRepeats"] = sliced(0.3)["tailItems"]
    document["difference"]["slices"]["withRepeats"]["fullNdcg"] = {"mean": -0.06, "standardError": 0.0}
    verdict = gate.judge(document, POLICY, LATER)
    assert verdict.outcome == "ACCEPTED"
    assert (
        "note: the baseline own items is better than this model: NDCG at 10 with items that people had before is "
        "0.3000 against 0.0600; a limit would be baselineGains.own_items.withRepeatsNdcg of the policy"
    ) in verdict.reasons
    limit = Policy.from_document({"baselineGains": {"own_items": {"withRepeatsNdcg": -0.5}}})
    assert gate.judge(document, limit, LATER).outcome == "REJECTED"


def test_a_baseline_with_repeats_is_no_note_where_the_model_has_none() -> None:
    baselines = {"own_items": {"fullNdcg": 0.01, "withRepeatsNdcg": 0.3}}
    assert list(notes.stronger({"fullNdcg": 0.06}, baselines, POLICY, 10)) == []


def test_the_note_names_the_best_of_several_baselines() -> None:
    baselines = {"cooccurrence": {"fullNdcg": 0.09}, "neighbours": {"fullNdcg": 0.07}}
    policy = Policy.from_document({"baselineGains": {"neighbours": {}}})
    (note,) = notes.stronger({"fullNdcg": 0.06}, baselines, policy, 10)
    assert note.startswith("note: the baseline cooccurrence is better than this model")
