"""A rollback goes to the previous version or to a named one, which must have served."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from choose_version import choice
from shared.errors import InvalidInput, MissingResource
from tests.unit.functions.cloud import CONTEXT, DIGEST, MODEL_URL, PACKAGE, RUN, VERSION, sample_event

BEFORE = "v20261122t151300z-0f0e0d0c"
LONG_AGO = "v20261101t000000z-00000000"


def model(version: str) -> dict[str, Any]:
    return {
        "runId": f"{version}-r1",
        "datasetVersion": version,
        "modelPackageArn": PACKAGE,
        "modelDataUrl": MODEL_URL,
        "endpointConfigName": f"ncf-{version}-r1",
        "bundleDigest": DIGEST,
    }


@pytest.fixture
def app(load: Callable[..., ModuleType]) -> ModuleType:
    app = load("choose_version")
    for version in (LONG_AGO, BEFORE, VERSION):
        assert app.LEDGER.promote(model(version), "arn", "it passed the gate", 1)
    return app


def chosen(version: str, reason: str, percent: int | None = None) -> dict[str, Any]:
    return {
        "runId": f"{version}-r1",
        "datasetVersion": version,
        "from": RUN,
        "reason": reason,
        "percent": percent,
        "registration": {"modelPackageArn": PACKAGE, "bundleDigest": DIGEST},
        "training": {"modelDataUrl": MODEL_URL},
    }


def test_the_version_of_its_sample_event(app: ModuleType) -> None:
    assert app.handler(sample_event("choose_version"), CONTEXT) == chosen(BEFORE, "customers complain about the lists")


def test_without_a_name_it_is_the_one_before(app: ModuleType) -> None:
    assert app.handler({}, CONTEXT) == chosen(BEFORE, "no reason was given")


@pytest.mark.parametrize("order", [{"to": f"{LONG_AGO}-r1"}, {}, {"percent": 0}])
def test_a_rollback_that_should_replace_another_run_is_stale(app: ModuleType, order: dict[str, Any]) -> None:
    assert app.handler({**order, "from": RUN}, CONTEXT)["from"] == RUN
    with pytest.raises(Exception, match=f"{RUN} serves now, not {BEFORE}-r1") as caught:
        app.handler({**order, "from": f"{BEFORE}-r1"}, CONTEXT)
    assert type(caught.value).__name__ == "StaleVersion"


def test_a_run_to_replace_that_is_no_run_is_refused(app: ModuleType) -> None:
    with pytest.raises(Exception, match=r"from must be a run id such as .*, not 'x'"):
        app.handler({"from": "x"}, CONTEXT)


def test_any_that_has_served_can_be_named(app: ModuleType) -> None:
    assert app.handler({"to": f"{LONG_AGO}-r1", "reason": "x"}, CONTEXT) == chosen(LONG_AGO, "x")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"percent": 10}, chosen(BEFORE, "no reason was given", 10)),
        ({"percent": 100}, chosen(BEFORE, "no reason was given")),
        ({"percent": 0, "reason": "enough"}, chosen(VERSION, "enough", 0)),
        ({"to": f"{LONG_AGO}-r1", "percent": 99}, chosen(LONG_AGO, "no reason was given", 99)),
    ],
)
def test_it_may_have_a_share_of_the_requests(app: ModuleType, event: dict[str, Any], expected: dict[str, Any]) -> None:
    assert app.handler(event, CONTEXT) == expected


def test_one_from_before_digests_were_recorded_has_none(app: ModuleType) -> None:
    old = {name: value for name, value in model(VERSION).items() if name != "bundleDigest"}
    registration = choice.target(old, app.LEDGER.serving(), choice.from_event({}))["registration"]  # type: ignore[arg-type]
    assert registration == {"modelPackageArn": PACKAGE, "bundleDigest": None}


def test_one_that_never_served_cannot(app: ModuleType) -> None:
    with pytest.raises(MissingResource, match=f"{LONG_AGO}-r2 cannot serve again"):
        app.handler({"to": f"{LONG_AGO}-r2"}, CONTEXT)


def test_one_that_serves_already_needs_no_rollback(app: ModuleType) -> None:
    with pytest.raises(InvalidInput, match="which already serves"):
        app.handler({"to": RUN}, CONTEXT)


def test_the_first_model_has_none_before_it(load: Callable[..., ModuleType]) -> None:
    app = load("choose_version")
    with pytest.raises(MissingResource, match="no model serves"):
        app.handler({}, CONTEXT)
    app.LEDGER.promote(model(VERSION), "arn", "it passed the gate", 1)
    with pytest.raises(MissingResource, match="is the first model that served"):
        app.handler({}, CONTEXT)


@pytest.mark.fault("M18")
def test_a_version_ahead_of_now_is_not_gone_back_to(app: ModuleType) -> None:
    """It would serve, and all later data would be older."""
    version = "v20991231t235959z-0000dead"
    assert app.LEDGER.promote(model(version), "arn", "it passed the gate", 1)
    assert app.LEDGER.promote(model(VERSION), "arn:x:ncf-rollback:1", "forged", 1, replacing=f"{version}-r1")
    with pytest.raises(InvalidInput, match="days ahead of the time"):
        app.handler({"to": f"{version}-r1"}, CONTEXT)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (None, "must be an object"),
        ([], "must be an object"),
        ({"to": "yesterday"}, "to must be a run id"),
        ({"to": 3}, "to must be a run id"),
        ({"reason": ""}, "reason must be a string of 1 to 500"),
        ({"reason": "x" * 501}, "reason must be a string of 1 to 500"),
        ({"reason": 7}, "reason must be a string of 1 to 500"),
        ({"percent": 101}, "percent must be an integer from 0 to 100"),
        ({"percent": -1}, "percent must be an integer from 0 to 100"),
        ({"percent": True}, "percent must be an integer from 0 to 100"),
        ({"percent": 0, "to": RUN}, "percent 0 ends a split: to must be left out"),
    ],
)
def test_names_the_field_that_cannot_be_used(event: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        choice.from_event(event)
