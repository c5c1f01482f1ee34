"""The ledger's conditional writes, with the semantics of DynamoDB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared import ledger
from shared.errors import InvalidInput
from shared.ledger import Ledger, Token
from shared.records import DatasetStatus, JobKind, RunStatus
from tests.unit.functions.cloud import EXECUTION, RUN, VERSION, Clock, Cloud

OLDER, NEWER = "v20261122t000000z-00000000", "v20261124t000000z-00000000"
FORGED = "v20991231t235959z-0000dead"


def token(task_token: str = "t1", **changed: Any) -> Token:
    return Token(
        **{
            "kind": JobKind.TRAINING,
            "name": "job",
            "task_token": task_token,
            "execution_arn": EXECUTION,
            "run_id": RUN,
            **changed,
        }
    )


@pytest.mark.fault("M15")
def test_one_of_eight_simultaneous_claims_wins(book: Ledger) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda _: book.claim_dataset(VERSION, RUN), range(8)))
    assert sorted(won) == [False] * 7 + [True]


@pytest.mark.parametrize(
    "status", [DatasetStatus.PREPARING, DatasetStatus.PREPARED, DatasetStatus.QUARANTINED, DatasetStatus.FAILED]
)
def test_a_dataset_in_any_open_state_can_be_claimed(book: Ledger, status: DatasetStatus) -> None:
    book.mark_dataset(VERSION, status, ["why"])
    assert book.claim_dataset(VERSION, RUN)
    assert book.dataset(VERSION)["status"] == DatasetStatus.CLAIMED  # type: ignore[index]


def test_a_stale_dataset_is_never_claimed(book: Ledger) -> None:
    book.mark_dataset(VERSION, DatasetStatus.STALE, ["older"])
    assert not book.claim_dataset(VERSION, RUN)
    assert book.claim_dataset(VERSION, RUN, was_stale=True), "unless its reason is gone"
    assert not book.claim_dataset(VERSION, RUN, was_stale=True)


def test_prepared_does_not_replace_claimed(book: Ledger) -> None:
    book.claim_dataset(VERSION, RUN)
    assert not book.mark_dataset(
        VERSION, DatasetStatus.PREPARED, [], unless=(DatasetStatus.CLAIMED, DatasetStatus.STALE)
    )
    assert book.dataset(VERSION)["status"] == DatasetStatus.CLAIMED  # type: ignore[index]


def test_the_newest_claimed_version_only_grows(book: Ledger, clock: Clock) -> None:
    clock.now += 86_400
    assert book.newest_claimed() is None
    assert book.claim_newest(VERSION) == VERSION
    assert book.claim_newest(OLDER) == VERSION
    assert book.claim_newest(NEWER) == NEWER
    assert book.newest_claimed() == NEWER


@pytest.mark.fault("M18")
def test_a_version_ahead_of_now_never_moves_the_newest_claimed(book: Ledger, cloud: Cloud) -> None:
    with pytest.raises(InvalidInput, match=f"{FORGED} is 26701 days ahead of the time"):
        book.claim_newest(FORGED)
    assert book.newest_claimed() is None
    assert book.claim_newest(VERSION) == VERSION
    with pytest.raises(InvalidInput):
        book.claim_newest(FORGED)
    assert book.newest_claimed() == VERSION


@pytest.mark.fault("M18")
def test_a_newest_version_ahead_of_now_counts_as_none_and_is_replaced(book: Ledger, cloud: Cloud) -> None:
    cloud.put("DATASET", "NEWEST_CLAIMED", datasetVersion=FORGED)
    assert book.newest_claimed() is None
    assert book.claim_newest(OLDER) == OLDER
    assert book.newest_claimed() == OLDER


def test_the_first_end_of_a_run_stays(book: Ledger) -> None:
    assert book.open_run(RUN, VERSION, EXECUTION)
    assert not book.open_run(RUN, VERSION, EXECUTION)
    assert book.finish_run(RUN, RunStatus.FAILED, ["first"], "E")
    assert not book.finish_run(RUN, RunStatus.ABORTED, ["second"], "E")
    state = book.run(RUN)
    assert state is not None and (state["status"], state["reasons"], state["error"]) == ("FAILED", ["first"], "E")
    assert state["endedAt"] == "2026-11-23T15:13:00.000Z"


def test_figures_come_back_as_they_were(book: Ledger) -> None:
    figures = {
        "candidate": {"sampledNdcg": 0.1 + 0.2},
        "checks": [{"passed": True, "value": 1.0, "n": 3}],
        "previous": None,
    }
    book.decide(RUN, "gate", "ACCEPTED", ["why"], figures)
    decision = book.decision(RUN, "gate")
    assert decision is not None and decision["figures"] == figures


def test_a_reason_is_bounded_in_length_and_number(book: Ledger) -> None:
    book.mark_dataset(VERSION, DatasetStatus.QUARANTINED, ["x" * 5000] * 50)
    reasons = book.dataset(VERSION)["reasons"]  # type: ignore[index]
    assert (len(reasons), len(reasons[0])) == (ledger.MAXIMUM_REASONS, ledger.MAXIMUM_REASON_LENGTH)


def test_a_token_is_held_named_and_released(book: Ledger) -> None:
    book.hold_token(token())
    assert book.token(JobKind.TRAINING, "job") == token()
    assert book.name_job(JobKind.TRAINING, "job", "t1", "id-1")
    assert book.open_tokens() == [token(job_id="id-1")]
    assert book.release_token(token())
    assert book.token(JobKind.TRAINING, "job") is None
    assert not book.name_job(JobKind.TRAINING, "job", "t1", "id-2")
    assert book.open_tokens() == []


def test_releasing_an_old_token_leaves_the_newer_one(book: Ledger) -> None:
    book.hold_token(token("t1"))
    book.hold_token(token("t2"))
    assert not book.release_token(token("t1"))
    assert book.token(JobKind.TRAINING, "job") == token("t2")


def test_an_open_token_expires_two_weeks_later(book: Ledger, cloud: Cloud, clock: Clock) -> None:
    book.hold_token(token())
    assert cloud.item("JOB#TRAINING#job", "TOKEN")["expiresAt"] == int(clock.now) + 14 * 24 * 3600


def test_one_of_many_notifies_and_a_failed_one_lets_the_next_try(book: Ledger) -> None:
    with pytest.raises(OSError, match="down"), book.notifying(f"RUN#{RUN}", "failure-0") as first:
        assert first
        raise OSError("down")
    with book.notifying(f"RUN#{RUN}", "failure-0") as first:
        assert first
    with book.notifying(f"RUN#{RUN}", "failure-0") as first:
        assert not first
    with book.notifying(f"RUN#{RUN}", "failure-1") as first:
        assert first, "a redriven run that fails again is another occasion"


def test_a_preparation_belongs_to_the_execution_that_began_it(book: Ledger) -> None:
    assert book.begin_dataset(VERSION, "one", 1, "s3://b/raw/x/", None)
    assert book.begin_dataset(VERSION, "one", 1, "s3://b/raw/x/", None), "a retry of the same execution"
    assert not book.begin_dataset(VERSION, "two", 1, "s3://b/raw/x/", None)
    book.mark_dataset(VERSION, DatasetStatus.FAILED, ["why"])
    assert book.begin_dataset(VERSION, "two", 2, "s3://b/raw/x/", None), "a replay after a failure"


def test_reads_all_pages_of_the_index(book: Ledger, cloud: Cloud) -> None:
    for number in range(40):
        cloud.put(f"RUN#{number}", kind="RUN", status="RUNNING", padding="x" * 50_000)
    assert len(book.unfinished_runs()) == 40
