"""Report and decision of the gate as rows and sentences, also where parts are missing."""

from typing import Any

import pytest

from control import evaluations
from control.evaluations import Evidence, Interval, Sentence

FAILED = "NDCG at 10 is 0.0005 against the incumbent's 0.0000: 84.1% sure that it is better, 95% asked"
PASSED = "coverage is 0.1746 against 0.2071 of the incumbent (-15.7%); loss of 50% allowed"
NOTE = "tested by leave-last-out on 598 of 610 test users"
DECISION = {
    "verdict": "REJECTED",
    "reasons": [FAILED, NOTE],
    "figures": {"checks": [{"passed": True, "sentence": PASSED}, {"passed": False, "sentence": FAILED}]},
}


def model(ndcg: float, **more: Any) -> dict[str, Any]:
    return {
        "full": {"ndcg": ndcg, "hitRate": 2 * ndcg},
        "sampled": {"ndcg": 0.5, "hitRate": 0.75},
        "standardErrors": {"fullNdcg": 0.01, "fullHitRate": 0.02, "sampledNdcg": 0.03, "sampledHitRate": 0.04},
        "coverage": 0.25,
        "largestExposure": 0.125,
        "slices": {"headItems": {"users": 430, "full": {"ndcg": ndcg, "hitRate": 0.1}}},
        **more,
    }


REPORT = {
    "protocol": {"k": 10, "split": "leave-last-out", "moment": None},
    "people": {"fair": 598},
    "data": {"itemShift": 2.02, "eventShift": None},
    "candidate": model(0.1),
    "incumbent": model(0.2, runId="v1-r1"),
    "baselines": {"popularity": model(0.3, difference={"fullNdcg": {"mean": -0.2, "standardError": 0.1}})},
    "difference": {"fullNdcg": {"mean": -0.1, "standardError": 0.01, "lower": -0.12, "upper": -0.08}},
}


def test_failed_checks_come_first_and_notes_last() -> None:
    assert evaluations.sentences(DECISION) == [Sentence(FAILED, False), Sentence(PASSED, True), Sentence(NOTE, None)]


def test_a_model_that_equals_the_serving_one_fails_no_check() -> None:
    same = "the model equals the serving model in every figure: it is not deployed"
    found = evaluations.sentences({**DECISION, "verdict": "UNCHANGED", "reasons": [same]})
    assert found == [
        Sentence(same, None),
        Sentence(PASSED, True),
        Sentence(f"not asked of the same model: {FAILED}", None),
    ]


def test_the_run_that_tells_most_is_the_newest_that_was_accepted_or_rejected() -> None:
    assert evaluations.telling({"v3-r1": "UNCHANGED", "v2-r1": "REJECTED", "v1-r1": "ACCEPTED"}) == "v2-r1"
    assert evaluations.telling({"v3-r1": "UNCHANGED"}) == "v3-r1"
    assert evaluations.telling({}) is None


def test_the_last_verdicts_are_read_the_newest_first(ledger_of: Any) -> None:
    ledger = ledger_of(
        {f"v{number}-r1": {1: "ACCEPTED", 3: "REJECTED", 4: "UNCHANGED"}.get(number) for number in range(6)}
    )
    assert evaluations.verdicts(ledger, 2) == {"v4-r1": "UNCHANGED", "v3-r1": "REJECTED"}
    assert evaluations.judged(ledger) == ["v4-r1", "v3-r1", "v1-r1"]


@pytest.fixture
def ledger_of() -> Any:
    """Makes a ledger of runs with their verdicts; None: not judged."""

    class Judged:
        def __init__(self, verdicts: dict[str, str | None]) -> None:
            self.verdicts = verdicts

        def of_kind(self, kind: str) -> list[dict[str, Any]]:
            return [{"pk": f"{kind}#{run}", "startedAt": place} for place, run in enumerate(self.verdicts)]

        def decision(self, run_id: str, stage: str) -> dict[str, Any]:
            verdict = self.verdicts[run_id]
            return {} if verdict is None else {"verdict": verdict, "stage": stage}

    return Judged


def test_each_model_has_its_figures_with_their_errors() -> None:
    rows = evaluations.metric_rows(REPORT)
    assert [row["model"] for row in rows] == ["candidate", "incumbent (v1-r1)", "popularity"]
    assert rows[0] == {
        "model": "candidate", "fullNdcg": 0.1, "fullNdcgError": 0.01, "fullHitRate": 0.2, "fullHitRateError": 0.02,
        "sampledNdcg": 0.5, "sampledNdcgError": 0.03, "sampledHitRate": 0.75, "sampledHitRateError": 0.04,
        "coverage": 0.25, "largestExposure": 0.125,
    }  # fmt: skip


def test_intervals_of_the_incumbent_are_kept_and_of_baselines_computed() -> None:
    incumbent, popularity = evaluations.intervals(REPORT)
    assert incumbent == Interval("incumbent", -0.1, -0.12, -0.08)
    assert (popularity.lower, popularity.upper) == pytest.approx((-0.396, -0.004))


def test_slices_data_and_protocol_are_rows() -> None:
    assert evaluations.slice_rows(REPORT) == [
        {"slice": "popular items", "users": 430, "candidate": 0.1, "incumbent": 0.2, "popularity": 0.3}
    ]
    assert [row["value"] for row in evaluations.data_rows(REPORT)] == [2.02, None]
    assert {"what": "moment", "value": "–"} in evaluations.protocol_rows(REPORT)


def test_a_first_model_has_no_incumbent_and_no_change_of_data() -> None:
    first = {**REPORT, "incumbent": None, "difference": None, "data": None}
    assert [row["model"] for row in evaluations.metric_rows(first)] == ["candidate", "popularity"]
    assert [one.against for one in evaluations.intervals(first)] == ["popularity"]
    assert evaluations.data_rows(first) == []


def test_a_run_that_failed_before_the_gate_says_why() -> None:
    run = {"status": "FAILED", "error": "the training job was stopped"}
    assert evaluations.verdict_of(Evidence("v1-r1", run)) == (
        "FAILED",
        "The gate has not judged this run: the training job was stopped",
    )
    assert evaluations.sentences({}) == []
    assert evaluations.metric_rows({}) == evaluations.slice_rows({}) == []
