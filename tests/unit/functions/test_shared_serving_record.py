"""The serving record and its conditional writes, with the semantics of DynamoDB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared import serving_record
from shared.ledger import Ledger
from shared.records import Model
from tests.unit.functions.cloud import EXECUTION, VERSION, Clock, Cloud

OLDER, NEWER = "v20261122t000000z-00000000", "v20261124t000000z-00000000"


def model(version: str, attempt: int = 1) -> Model:
    return {
        "runId": f"{version}-r{attempt}",
        "datasetVersion": version,
        "modelPackageArn": "arn",
        "modelDataUrl": "s3://b/k",
        "endpointConfigName": f"ncf-{version}-r{attempt}",
    }


@pytest.mark.fault("R08")
def test_one_of_two_simultaneous_deployments_has_the_lock(book: Ledger) -> None:
    with ThreadPoolExecutor(4) as pool:
        locks = list(pool.map(book.lock_deployment, ["a", "b", "c", "d"]))
    assert len(set(locks)) == 1
    winner = locks[0].holder
    assert book.lock_deployment(winner) == serving_record.Lock(winner, 2), "its holder may take it again"


def test_only_its_holder_gives_the_lock_back(book: Ledger) -> None:
    book.lock_deployment("a")
    assert not book.unlock_deployment("b")
    assert book.unlock_deployment("a")
    assert book.lock_deployment("b") == serving_record.Lock("b", 2), (
        "a fence never comes twice, whatever was given back"
    )


def test_a_lock_that_was_never_given_back_expires(book: Ledger, clock: Clock) -> None:
    book.lock_deployment("a")
    clock.now += serving_record.LOCK_LIFETIME_SECONDS
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
    clock.now += serving_record.LOCK_LIFETIME_SECONDS + 1
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
    assert serving["previous"] is not None
    assert serving["previous"]["runId"] == f"{VERSION}-r1"
    assert "previous" not in serving["previous"], "one level deep"


def test_the_digest_of_a_bundle_stays_with_its_model(book: Ledger) -> None:
    """A model that was promoted before digests were recorded has none, even if one with a digest served before it."""
    with_digest: Model = {**model(NEWER), "bundleDigest": "c4" * 32}
    book.promote(model(VERSION), EXECUTION, "it passed the gate", 1)
    book.promote(with_digest, EXECUTION, "it passed the gate", 1)
    assert book.promote(model(VERSION), "rollback", "odd lists", 1, replacing=f"{NEWER}-r1")
    serving = book.serving()
    assert serving is not None and serving["previous"] is not None
    assert (serving["bundleDigest"], serving["previous"]["bundleDigest"]) == (None, "c4" * 32)
    champion = book.champion(f"{NEWER}-r1")
    assert champion is not None and champion["bundleDigest"] == "c4" * 32


def test_promoting_the_same_run_again_keeps_what_was_before_it(book: Ledger) -> None:
    book.promote(model(OLDER), EXECUTION, "it passed the gate", 1)
    book.promote(model(VERSION), EXECUTION, "it passed the gate", 1)
    assert book.promote(model(VERSION), EXECUTION, "it passed the gate", 1)
    serving = book.serving()
    assert serving is not None and serving["previous"] is not None
    assert serving["previous"]["runId"] == f"{OLDER}-r1"


def test_a_rollback_replaces_newer_data_and_only_the_run_that_it_was_to_replace(book: Ledger) -> None:
    book.promote(model(VERSION), EXECUTION, "it passed the gate", 1)
    book.promote(model(NEWER), EXECUTION, "it passed the gate", 1)
    assert not book.promote(model(VERSION), "rollback", "odd lists", 1, replacing=f"{VERSION}-r9")
    assert book.promote(model(VERSION), "rollback", "odd lists", 1, replacing=f"{NEWER}-r1")
    serving = book.serving()
    assert serving is not None
    assert (serving["runId"], serving["by"], serving["why"]) == (f"{VERSION}-r1", "rollback", "odd lists")
    assert serving["previous"] is not None
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
