"""Who served when, and whose model a person took back, from the items of the serving record."""

from __future__ import annotations

from typing import Any

from contracts import history

RETRAINING = "arn:aws:states:eu-central-1:123456789012:execution:ncf-retraining:x"
ROLLBACK = "arn:aws:states:eu-central-1:123456789012:execution:ncf-rollback:7f"
A, B, C = (f"v2026112{day}t000000z-0000000{day}-r1" for day in (1, 2, 3))


def model_served(
    run: str, since: str, by: str, replaced: str | None, why: str = "it passed the gate"
) -> dict[str, Any]:
    return {"sk": f"SINCE#{since}", "runId": run, "since": since, "by": by, "why": why, "replaced": replaced}


def current(run: str, since: str, by: str, previous: str | None, why: str = "it passed the gate") -> dict[str, Any]:
    before = {"runId": previous} if previous else None
    return {"sk": "CURRENT", "runId": run, "since": since, "by": by, "why": why, "previous": before}


FIRST, SECOND = model_served(A, "2026-11-21", RETRAINING, None), model_served(B, "2026-11-22", RETRAINING, A)
BACK = model_served(A, "2026-11-23", ROLLBACK, B, "customers complain")


def test_what_newer_data_replaced_was_not_taken_back() -> None:
    assert history.taken_back([SECOND, FIRST]) == {}


def test_what_a_rollback_replaced_was_taken_back() -> None:
    found = history.taken_back([BACK, SECOND, FIRST])
    assert found == {B: history.TakenBack(B, "7f", "2026-11-23", "customers complain")}
    assert str(found[B]) == f"the model of {B} was taken back by rollback 7f on 2026-11-23: customers complain"


def test_what_serves_again_is_not_taken_back_any_more() -> None:
    again = model_served(B, "2026-11-24", ROLLBACK, A, "it was the weather")
    assert history.taken_back([again, BACK, SECOND, FIRST]).keys() == {A}
    deployed = model_served(B, "2026-11-25", RETRAINING, A)
    assert history.taken_back([deployed, BACK, SECOND, FIRST]) == {}


def test_the_record_of_who_serves_counts_before_its_tenure_is_written() -> None:
    found = history.taken_back([current(A, "2026-11-23", ROLLBACK, B, "odd"), SECOND, FIRST, {"sk": "SPLIT"}])
    assert found[B].why == "odd"


def test_a_model_of_the_same_data_is_found_and_the_latest_is_told() -> None:
    other = A.replace("-r1", "-r2")
    taken = [
        model_served(A, "2026-11-21", RETRAINING, None),
        model_served(other, "2026-11-22", RETRAINING, A),
        model_served(C, "2026-11-23", ROLLBACK, other, "once"),
    ]
    assert history.taken_back_of(taken, A.removesuffix("-r1")) == history.TakenBack(other, "7f", "2026-11-23", "once")
    assert history.taken_back_of(taken, C.removesuffix("-r1")) is None


def test_the_version_before_is_the_latest_that_was_not_taken_back() -> None:
    items = [FIRST, SECOND, model_served(C, "2026-11-23", RETRAINING, B)]
    assert history.before(items, C) == B
    back = [*items, model_served(B, "2026-11-24", ROLLBACK, C)]
    assert history.before(back, B) == A
    assert history.before([*back, model_served(A, "2026-11-25", ROLLBACK, B)], A) is None
    assert history.before([], A) is None


def test_a_rollback_is_known_by_its_state_machine() -> None:
    assert history.is_rollback(ROLLBACK)
    named_so = RETRAINING.replace("ncf-retraining:x", "my-rollback-retraining:x-rollback")
    assert not any(map(history.is_rollback, (RETRAINING, named_so, None, "", "arn")))


def test_a_split_and_a_record_that_tells_no_time_are_no_tenures() -> None:
    split = {"sk": "SPLIT", "since": "2026-11-28T10:00", "runId": "other", "percent": 10}
    untold = {"sk": "CURRENT", "runId": "r", "since": None}
    assert history.served([split, untold, {"sk": "CURRENT", "runId": "r"}]) == []


def test_a_rollback_that_replaced_nothing_took_nothing_back() -> None:
    back = {"sk": "SINCE#1", "since": "2026-11-28T10:00", "runId": "r", "by": "arn:x:ncf-rollback:7f", "why": "w"}
    assert history.taken_back([back, {**back, "since": "2026-11-28T11:00", "replaced": None}]) == {}


def test_the_first_model_that_serves_replaced_none() -> None:
    (first,) = history.served([current(A, "2026-11-21", RETRAINING, None)])
    assert (first["runId"], first["replaced"]) == (A, None)
