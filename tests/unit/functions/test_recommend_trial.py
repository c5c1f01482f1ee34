"""A trial of two models: a person stays on one side, and answers name it, in every case in which the endpoint has both
variants; otherwise the answer is as without a trial.
"""

from __future__ import annotations

import json
import time
from typing import Any

import jsonschema
import pytest

from contracts import recent_events
from contracts.recommendation_ids import Answered
from contracts.trials import ALL_TRAFFIC, OTHER, Trial
from recommend import openapi
from tests.unit.functions.recommending import (
    DOWN,
    ENVIRONMENT,
    HEALTH,
    Aws,
    app,
    aws,
    call,
    clock,
    cold_start,
    emitted,
    fault,
    personalized,
    rankings,
    recommendations,
    related,
    reply,
)  # fmt: skip

__all__ = ["app", "aws", "clock", "cold_start"]  # fixtures

RUN, EARLIER = "v20260102t000000z-00000000-r1", "v20260101t000000z-00000000-r1"
TRIAL = Trial(trial_id="a-trial", all_traffic=RUN, other=EARLIER, share=0.5)
SIDES = {str(user): TRIAL.side_of(recent_events.of_user(str(user))) for user in range(20)}
RUNS = {ALL_TRAFFIC: RUN, OTHER: EARLIER}
TARGET = "X-Amzn-SageMaker-Target-Variant"


class Split:
    """An endpoint with these variants. Without a target it answers by the first one."""

    def __init__(self, **runs: str) -> None:
        self.runs = runs
        self.targets: list[str | None] = []

    def __call__(self, request: Any) -> Any:
        target = request.headers.get(TARGET)
        target = target.decode() if isinstance(target, bytes) else target
        self.targets.append(target)
        variant = target or next(iter(self.runs))
        if variant not in self.runs:
            return fault(400, "ValidationError")(request)
        answer = json.loads(personalized(request).content)
        headers = {"x-amzn-invoked-production-variant": variant}
        return reply(200, answer | {"modelVersion": self.runs[variant]}, **headers)


@pytest.fixture
def bare(aws: Aws) -> Split:
    """The endpoint with both variants."""
    split = aws.endpoint = Split(**RUNS)
    return split


@pytest.fixture
def split(bare: Split, aws: Aws, app: Any) -> Split:
    """The same with a trial, whose document has been read."""
    aws.trial = lambda request: reply(200, TRIAL.to_document())
    read(app)
    return bare


def read(app: Any) -> None:
    """Wait for the first read of the document, longer than a request does."""
    app.trial.begin()
    app.trial.side_of(None, 5.0)


def answered(app: Any, event: Any) -> tuple[dict[str, Any], Answered]:
    status, body = call(app, event)
    assert status == 200
    made = Answered.read(body["recommendationId"], ENVIRONMENT["STACK_ID"])
    assert made is not None
    return body, made


def test_each_person_gets_the_model_of_their_side_and_stays_there(app: Any, split: Split) -> None:
    for user, side in SIDES.items():
        for _ in range(2):
            body, made = answered(app, recommendations(user))
            assert body["trial"] == {"trialId": "a-trial", "variant": side}
            assert body["model"] == {"version": RUNS[str(side)], "variant": side}
            assert (made.trial, made.variant, made.run_id) == ("a-trial", side, RUNS[str(side)])
    assert split.targets == [side for side in SIDES.values() for _ in range(2)]
    assert set(SIDES.values()) == {ALL_TRAFFIC, OTHER}


def test_rankings_name_the_side_too(app: Any, split: Split) -> None:
    for user, side in SIDES.items():
        body, made = answered(app, rankings({"userId": user, "inputList": ["1", "2"]}))
        assert body["trial"]["variant"] == made.variant == side
        schema = openapi.document()["components"]
        jsonschema.validate(body, schema["schemas"]["PersonalizedRanking"])


def test_an_answer_to_nobody_has_no_side(app: Any, split: Split, aws: Aws) -> None:
    aws.endpoint = lambda request: reply(
        200, {"itemId": "7", "itemList": [], "source": "related", "modelVersion": RUN, "unknownItems": 0}
    )
    body, made = answered(app, related())
    assert "trial" not in body and made.trial == made.variant == ""
    aws.endpoint = split
    assert call(app, HEALTH)[0] == 200 and split.targets == [None]


@pytest.mark.parametrize("content", [None, TRIAL.to_document() | {"endedAt": "2026-11-29T10:00:00Z"}])
def test_without_a_trial_nothing_is_asked_for_and_nothing_named(
    app: Any, bare: Split, aws: Aws, content: dict[str, Any] | None
) -> None:
    aws.trial = (lambda request: reply(200, content)) if content else fault(404, "NoSuchKey")
    read(app)
    body, made = answered(app, recommendations())
    assert bare.targets == [None] and "trial" not in body and made.trial == ""


def test_a_moved_share_is_in_force_within_a_minute(app: Any, split: Split, aws: Aws, clock: Any) -> None:
    user = next(user for user, side in SIDES.items() if side == ALL_TRAFFIC)
    assert answered(app, recommendations(user))[1].variant == ALL_TRAFFIC
    all_of_them = Trial(trial_id="a-trial", all_traffic=RUN, other=EARLIER, share=1.0)
    aws.trial = lambda request: reply(200, all_of_them.to_document())
    clock.now += 60
    for _ in range(100):  # it is read beside the answers
        if answered(app, recommendations(user))[1].variant == OTHER:
            break
        time.sleep(0.01)
    else:
        pytest.fail("the moved share is not in force")


def test_a_session_has_a_side_of_its_own(app: Any, split: Split) -> None:
    for session in range(10):
        event = {
            "version": "2.0",
            "routeKey": "GET /sessions/{sessionId}/recommendations",
            "pathParameters": {"sessionId": str(session)},
            "queryStringParameters": None,
            "requestContext": {"http": {"method": "GET"}, "stage": "$default"},
        }
        made = answered(app, event)[1]
        assert made.variant == TRIAL.side_of(recent_events.of_session(str(session)))


@pytest.mark.parametrize("runs", [{ALL_TRAFFIC: RUN}, {ALL_TRAFFIC: EARLIER}, {ALL_TRAFFIC: "another"}])
def test_an_endpoint_without_the_variant_answers_without_the_trial(
    app: Any, split: Split, runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    split.runs = runs
    user = next(user for user, side in SIDES.items() if side == OTHER)
    for _ in range(2):
        body, made = answered(app, recommendations(user))
        assert body["model"] == {"version": runs[ALL_TRAFFIC], "variant": ALL_TRAFFIC}
        assert "trial" not in body and made.trial == made.variant == ""
    assert split.targets == [OTHER, None, None]  # for a minute it is not asked for again
    assert [found for found in emitted(capsys) if found[0] == "TrialSideNotServed"] == [
        ("TrialSideNotServed", 1, {})
    ] * 2


def test_a_variant_that_comes_is_asked_for_after_a_minute(
    app: Any, split: Split, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.endpoint, "_clock", lambda: clock.now)
    split.runs = {ALL_TRAFFIC: RUN}
    user = next(user for user, side in SIDES.items() if side == OTHER)
    answered(app, recommendations(user))
    split.runs = dict(RUNS)
    clock.now += 60
    assert answered(app, recommendations(user))[1].variant == OTHER


def test_the_variant_of_another_model_counts_for_no_side(app: Any, split: Split) -> None:
    split.runs = {ALL_TRAFFIC: "another", OTHER: EARLIER}
    user = next(user for user, side in SIDES.items() if side == ALL_TRAFFIC)
    body, made = answered(app, recommendations(user))
    assert "trial" not in body and (made.trial, made.run_id) == ("", "another")


def test_a_list_in_place_of_the_endpoint_counts_for_the_persons_side(app: Any, split: Split, aws: Aws) -> None:
    aws.endpoint = DOWN
    for user in ("0", "1", "2"):
        body, made = answered(app, recommendations(user))
        assert body["source"] == made.source == "popular"
        assert body["trial"]["variant"] == made.variant == SIDES[user]


def test_an_absent_endpoint_stays_absent(app: Any, split: Split, aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    aws.endpoint = fault(400, "ValidationError")
    assert answered(app, recommendations())[0]["source"] == "popular"
    assert ("EndpointFallback", 1, {"reason": "absent"}) in emitted(capsys)


def test_a_broken_document_is_no_trial_and_is_told(
    app: Any, bare: Split, aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.trial = lambda request: reply(200, {"schemaVersion": "1.0"})
    read(app)
    body, _ = answered(app, recommendations())
    assert "trial" not in body and ("TrialUnreadable", 1, {}) in emitted(capsys)


@pytest.mark.parametrize("kind", ["popular", "trending"])
def test_a_placement_that_asks_no_model_counts_for_no_side(app: Any, split: Split, aws: Aws, kind: str) -> None:
    document = {"schemaVersion": "1.0", "placements": {"hot": {"list": kind}}}
    aws.placements = lambda request: reply(200, document)
    body, made = answered(app, recommendations("0", placement="hot"))
    assert split.targets == [] and "trial" not in body and made.trial == made.variant == ""
