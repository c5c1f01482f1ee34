"""The ledger's conditional writes, against DynamoDB's own semantics."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared import ledger, tenures
from shared.ledger import Ledger, Token
from tests.unit.functions.cloud import EXECUTION, RUN, VERSION, Cloud

OLDER, NEWER = "v20261122t000000z-00000000", "v20261124t000000z-00000000"


class Clock:
    def __init__(self) -> None:
        self.now = 1_795_446_780.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(cloud: Cloud, clock: Clock) -> Ledger:
    return Ledger("ncf-runs", clock)


def token(task_token: str = "t1", **changed: Any) -> Token:
    return Token(
        **{
            "kind": ledger.TRAINING,
            "name": "job",
            "task_token": task_token,
            "execution_arn": EXECUTION,
            "run_id": RUN,
            **changed,
        }
    )


def model(version: str, attempt: int = 1) -> dict[str, Any]:
    return {
        "runId": f"{version}-r{attempt}",
        "datasetVersion": version,
        "modelPackageArn": "arn",
        "modelDataUrl": "s3://b/k",
        "endpointConfigName": f"ncf-{version}-r{attempt}",
    }


@pytest.mark.fault("M15")
def test_one_of_eight_simultaneous_claims_wins(book: Ledger) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda _: book.claim_dataset(VERSION, RUN), range(8)))
    assert sorted(won) == [False] * 7 + [True]


@pytest.mark.parametrize("status", [ledger.PREPARING, ledger.PREPARED, ledger.QUARANTINED, ledger.FAILED])
def test_a_dataset_in_any_open_state_can_be_claimed(book: Ledger, status: str) -> None:
    book.mark_dataset(VERSION, status, ["why"])
    assert book.claim_dataset(VERSION, RUN)
    assert book.dataset(VERSION)["status"] == ledger.CLAIMED  # type: ignore[index]


def test_a_stale_dataset_is_never_claimed(book: Ledger) -> None:
    book.mark_dataset(VERSION, ledger.STALE, ["older"])
    assert not book.claim_dataset(VERSION, RUN)


def test_prepared_does_not_replace_claimed(book: Ledger) -> None:
    book.claim_dataset(VERSION, RUN)
    assert not book.mark_dataset(VERSION, ledger.PREPARED, [], unless=(ledger.CLAIMED, ledger.STALE))
    assert book.dataset(VERSION)["status"] == ledger.CLAIMED  # type: ignore[index]


def test_the_newest_claimed_version_only_grows(book: Ledger) -> None:
    assert book.newest_claimed() is None
    assert book.claim_newest(VERSION) == VERSION
    assert book.claim_newest(OLDER) == VERSION
    assert book.claim_newest(NEWER) == NEWER
    assert book.newest_claimed() == NEWER


def test_the_first_end_of_a_run_stays(book: Ledger) -> None:
    assert book.open_run(RUN, VERSION, EXECUTION)
    assert not book.open_run(RUN, VERSION, EXECUTION)
    assert book.finish_run(RUN, ledger.FAILED, ["first"], "E")
    assert not book.finish_run(RUN, ledger.ABORTED, ["second"], "E")
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
    book.mark_dataset(VERSION, ledger.QUARANTINED, ["x" * 5000] * 50)
    reasons = book.dataset(VERSION)["reasons"]  # type: ignore[index]
    assert (len(reasons), len(reasons[0])) == (ledger.MAXIMUM_REASONS, ledger.MAXIMUM_REASON_LENGTH)


def test_a_token_is_held_named_and_released(book: Ledger) -> None:
    book.hold_token(token())
    assert book.token(ledger.TRAINING, "job") == token()
    assert book.name_job(ledger.TRAINING, "job", "t1", "id-1")
    assert book.open_tokens() == [token(job_id="id-1")]
    assert book.release_token(token())
    assert book.token(ledger.TRAINING, "job") is None
    assert not book.name_job(ledger.TRAINING, "job", "t1", "id-2")
    assert book.open_tokens() == []


def test_releasing_an_old_token_leaves_the_newer_one(book: Ledger) -> None:
    book.hold_token(token("t1"))
    book.hold_token(token("t2"))
    assert not book.release_token(token("t1"))
    assert book.token(ledger.TRAINING, "job") == token("t2")


def test_an_open_token_expires_two_weeks_later(book: Ledger, cloud: Cloud, clock: Clock) -> None:
    book.hold_token(token())
    assert cloud.item("JOB#TRAINING#job", "TOKEN")["expiresAt"] == int(clock.now) + 14 * 24 * 3600


@pytest.mark.fault("R08")
def test_one_of_two_simultaneous_deployments_has_the_lock(book: Ledger) -> None:
    with ThreadPoolExecutor(4) as pool:
        locks = list(pool.map(book.lock_deployment, ["a", "b", "c", "d"]))
    assert len(set(locks)) == 1
    winner = locks[0].holder
    assert book.lock_deployment(winner) == tenures.Lock(winner, 2), "its holder may take it again"


def test_only_its_holder_gives_the_lock_back(book: Ledger) -> None:
    book.lock_deployment("a")
    assert not book.unlock_deployment("b")
    assert book.unlock_deployment("a")
    assert book.lock_deployment("b") == tenures.Lock("b", 2), "a fence never comes twice, whatever was given back"


def test_a_lock_that_was_never_given_back_expires(book: Ledger, clock: Clock) -> None:
    book.lock_deployment("a")
    clock.now += tenures.LOCK_LIFETIME_SECONDS
    assert book.lock_deployment("b").holder == "a"
    clock.now += 1
    assert book.lock_deployment("b").holder == "b"


@pytest.mark.fault("R08")
@pytest.mark.parametrize("later", ["a split", "the serving model alone again"])
def test_who_lost_the_lock_replaces_nothing_under_a_later_deployment_that_left_it_there(
    book: Ledger, later: str
) -> None:
    assert book.promote(model(VERSION), EXECUTION, "it passed the gate", 1)
    if later == "a split":
        assert book.share_traffic(f"{OLDER}-r1", 10, "ncf-split", "rollback", "a trial", 3)
    else:
        assert book.promote(model(VERSION), "rollback", "the trial is over", 3, replacing=f"{VERSION}-r1")
    assert not book.promote(model(NEWER), EXECUTION, "it passed the gate", 2)
    assert not book.share_traffic(f"{NEWER}-r1", 10, "ncf-slow", EXECUTION, "a trial", 2)
    assert book.serving()["runId"] == f"{VERSION}-r1"  # type: ignore[index]


@pytest.mark.fault("R08")
def test_who_lost_the_lock_writes_nothing_over_what_its_next_holder_wrote(book: Ledger, clock: Clock) -> None:
    """A retraining is slower than its lease; meanwhile a rollback goes to an older model. Without the fence the newer
    data of the retraining would win over it in the ledger, while the endpoint serves the older model.
    """
    slow = book.lock_deployment("retraining")
    assert book.promote(model(VERSION), EXECUTION, "it passed the gate", slow.fence)
    clock.now += tenures.LOCK_LIFETIME_SECONDS + 1
    quick = book.lock_deployment("rollback")
    assert book.promote(model(OLDER), "rollback", "odd lists", quick.fence, replacing=f"{VERSION}-r1")
    assert not book.promote(model(NEWER), EXECUTION, "it passed the gate", slow.fence)
    assert book.serving()["runId"] == f"{OLDER}-r1"  # type: ignore[index]
    assert book.share_traffic("quick", 10, "ncf-quick", "rollback", "a trial", quick.fence)
    assert not book.share_traffic("slow", 10, "ncf-slow", EXECUTION, "a trial", slow.fence)
    assert book.current_split()["runId"] == "quick"  # type: ignore[index]
    assert book.promote(model(NEWER), EXECUTION, "it passed the gate", book.lock_deployment("rollback").fence)


@pytest.mark.fault("M09")
def test_newer_data_replaces_older_and_never_the_other_way(book: Ledger) -> None:
    assert book.promote(model(VERSION), EXECUTION, "it passed the gate", 1)
    assert book.promote(model(NEWER), EXECUTION, "it passed the gate", 1)
    assert not book.promote(model(VERSION, attempt=2), EXECUTION, "it passed the gate", 1)
    serving = book.serving()
    assert serving is not None and serving["runId"] == f"{NEWER}-r1"
    assert serving["previous"]["runId"] == f"{VERSION}-r1"
    assert "previous" not in serving["previous"], "one level deep"


def test_promoting_the_same_run_again_keeps_what_was_before_it(book: Ledger) -> None:
    book.promote(model(OLDER), EXECUTION, "it passed the gate", 1)
    book.promote(model(VERSION), EXECUTION, "it passed the gate", 1)
    assert book.promote(model(VERSION), EXECUTION, "it passed the gate", 1)
    assert book.serving()["previous"]["runId"] == f"{OLDER}-r1"  # type: ignore[index]


def test_a_rollback_replaces_newer_data_and_only_the_run_that_it_was_to_replace(book: Ledger) -> None:
    book.promote(model(VERSION), EXECUTION, "it passed the gate", 1)
    book.promote(model(NEWER), EXECUTION, "it passed the gate", 1)
    assert not book.promote(model(VERSION), "rollback", "odd lists", 1, replacing=f"{VERSION}-r9")
    assert book.promote(model(VERSION), "rollback", "odd lists", 1, replacing=f"{NEWER}-r1")
    serving = book.serving()
    assert serving is not None
    assert (serving["runId"], serving["by"], serving["why"]) == (f"{VERSION}-r1", "rollback", "odd lists")
    assert serving["previous"]["runId"] == f"{NEWER}-r1"


def test_who_has_served_is_remembered_whatever_was_interrupted(book: Ledger, cloud: Cloud) -> None:
    book.promote(model(VERSION), EXECUTION, "it passed the gate", 1)
    since = book.serving()["since"]  # type: ignore[index]
    for key in ({"pk": "SERVING", "sk": f"SINCE#{since}"}, {"pk": f"CHAMPION#{VERSION}-r1", "sk": "STATE"}):
        cloud.table.delete_item(Key=key)  # as if the function had died after its first write
    assert book.champion(f"{VERSION}-r1") is None
    book.promote(model(VERSION), EXECUTION, "it passed the gate", 1)
    champion = book.champion(f"{VERSION}-r1")
    assert champion is not None and champion["endpointConfigName"] == model(VERSION)["endpointConfigName"]
    tenure = cloud.item("SERVING", f"SINCE#{since}")
    assert (tenure["kind"], tenure["by"], tenure["why"]) == ("TENURE", EXECUTION, "it passed the gate")


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
    book.mark_dataset(VERSION, ledger.FAILED, ["why"])
    assert book.begin_dataset(VERSION, "two", 2, "s3://b/raw/x/", None), "a replay after a failure"


def test_reads_all_pages_of_the_index(book: Ledger, cloud: Cloud) -> None:
    for number in range(40):
        cloud.put(f"RUN#{number}", kind="RUN", status="RUNNING", padding="x" * 50_000)
    assert len(book.unfinished("RUN", ledger.RUNNING)) == 40
