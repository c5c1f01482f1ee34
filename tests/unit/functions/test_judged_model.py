"""The model that was judged is the model that serves: an archive that is replaced at any moment after the training does
not go live. What the server refuses is in tests/contract/test_judged_bundle.py.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.functions.cloud import ARTIFACTS, DIGEST, JOB, MODEL_URL, OUTPUT_URL, RUN, archive_of
from tests.unit.functions.test_gate import report
from tests.unit.functions.test_verify import KNOWN, POPULAR
from tests.unit.functions.test_whole_run import Platform, platform
from tests.unit.statemachines.interpreter import Execution

__all__ = ["platform"]  # a fixture

pytestmark = pytest.mark.slow

MODEL, OUTPUT = (url.removeprefix(f"s3://{ARTIFACTS}/") for url in (MODEL_URL, OUTPUT_URL))
RUNS = f"runs/{RUN}"
BETTER = archive_of(
    {
        name: json.dumps(content).encode()
        for name, content in {
            "evaluation.json": report(hit_rate=1.0, ndcg=1.0),
            "golden.json": [KNOWN],
            "popular.json": POPULAR,
        }.items()
    }
)


def run(platform: Platform, **before: Callable[[], Any]) -> Execution:
    """One execution, in which something happens before the states that are named."""
    call = platform.call

    def called(state: str, payload: Any) -> Any:
        before.pop(state, lambda: None)()
        return call(state, payload)

    platform.call = called  # type: ignore[method-assign]
    try:
        return platform.run()
    finally:
        platform.call = call  # type: ignore[method-assign]


def reason(platform: Platform) -> str:
    """Why the run failed; nothing of its model serves."""
    ledger = platform.cloud.item(f"RUN#{RUN}")
    assert ledger["status"] in ("FAILED", "ROLLED_BACK"), ledger
    assert ledger["error"] == "ArtefactChanged", ledger
    assert platform.cloud.item("SERVING", "CURRENT") == {}
    assert platform.aws.endpoint is None
    return str(ledger["reasons"][0])


@pytest.mark.parametrize("state", ["Evaluate", "Register", "Deploy"])
@pytest.mark.fault("R06")
def test_an_archive_that_is_replaced_after_the_training_is_not_deployed(platform: Platform, state: str) -> None:
    cloud = platform.cloud
    run(platform, **{state: lambda: cloud.write(ARTIFACTS, MODEL, b"another model")})
    assert reason(platform).startswith(f"{state}: ")
    assert platform.aws.models == {}
    assert len(platform.aws.packages) == (1 if state == "Deploy" else 0)


@pytest.mark.fault("R06")
def test_an_output_that_is_replaced_after_the_training_is_not_read(platform: Platform) -> None:
    run(platform, Evaluate=lambda: platform.cloud.write(ARTIFACTS, OUTPUT, BETTER))
    assert f"{OUTPUT} has ETag" in reason(platform)
    assert platform.cloud.item(f"RUN#{RUN}", "DECISION#gate") == {}


@pytest.mark.parametrize("replaced", [(MODEL,), (OUTPUT,), (MODEL, OUTPUT)])
@pytest.mark.fault("R06")
def test_archives_that_are_replaced_before_the_trainings_end_is_seen_are_not_taken(
    platform: Platform, replaced: tuple[str, ...]
) -> None:
    """A training writes each archive once, so the first version is its own."""
    versions = {"Bucket": ARTIFACTS, "VersioningConfiguration": {"Status": "Enabled"}}
    platform.cloud.s3.put_bucket_versioning(**versions)
    jobs = importlib.import_module("shared.jobs")  # the modules that this platform has imported anew
    settle = jobs.Jobs.settle

    def late(self: Any, token: Any) -> bool:
        for key in replaced:
            platform.cloud.write(ARTIFACTS, key, BETTER)
        return bool(settle(self, token))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.Jobs, "settle", late)
        run(platform)
    assert reason(platform).startswith(f"Evaluate: {replaced[0]} has ETag")
    assert "as at the training's end: it was written again, and nobody judged that" in reason(platform)


@pytest.mark.parametrize("key", [MODEL, OUTPUT])
@pytest.mark.fault("R06")
def test_an_archive_that_is_replaced_while_the_run_has_failed_is_not_taken_by_its_restart(
    platform: Platform, key: str
) -> None:
    platform.cloud.write(ARTIFACTS, "policy/gate.json", b"{")
    assert run(platform).status == "FAILED"
    platform.cloud.write(ARTIFACTS, key, BETTER)
    platform.cloud.write(ARTIFACTS, "policy/gate.json", {"minimumTestUsers": 2})
    assert run(platform).path[:2] == ["StartTraining", "Evaluate"]
    assert f"Evaluate: {key} has ETag" in reason(platform)


@pytest.mark.parametrize("name", ["golden.json", "popular.json"])
@pytest.mark.fault("R06")
def test_a_file_that_the_gate_has_kept_and_that_is_replaced_is_not_published(platform: Platform, name: str) -> None:
    other: Any = [KNOWN] if name == "golden.json" else {**POPULAR, "itemList": []}
    run(platform, Verify=lambda: platform.cloud.write(ARTIFACTS, f"{RUNS}/{name}", other))
    assert f"Verify: {RUNS}/{name} was changed after the gate had read it" in reason(platform)
    assert platform.cloud.s3.list_objects_v2(Bucket=ARTIFACTS, Prefix="serving/")["KeyCount"] == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"InferenceSpecification": {"Containers": [{"Image": "another", "ModelDataUrl": MODEL_URL}]}},
        {"CustomerMetadataProperties": {"bundleDigest": "0" * 64}},
        {"CustomerMetadataProperties": {"bundleDigest": None}},
    ],
    ids=["image", "digest", "no digest"],
)
@pytest.mark.fault("R06")
def test_a_package_that_is_changed_after_its_registration_is_not_deployed(
    platform: Platform, changed: dict[str, Any]
) -> None:
    def change() -> None:
        package = platform.aws.packages[0]
        for name, value in changed.items():
            package[name] = {**package[name], **value}
        known = package["CustomerMetadataProperties"]
        package["CustomerMetadataProperties"] = {name: value for name, value in known.items() if value}

    run(platform, Deploy=change)
    assert "which was judged: it is not deployed" in reason(platform)
    assert platform.aws.models == {}


@pytest.mark.fault("R06")
def test_a_package_that_another_made_for_the_run_is_not_adopted(platform: Platform) -> None:
    platform.aws.create_model_package(
        {
            "ClientToken": "another",
            "ModelPackageDescription": f"run {RUN}",
            "ModelApprovalStatus": "Approved",
            "InferenceSpecification": {"Containers": [{"Image": "another", "ModelDataUrl": MODEL_URL}]},
            "CustomerMetadataProperties": {"runId": RUN},
        }
    )
    assert run(platform).status == "SUCCEEDED"
    assert platform.cloud.item("SERVING", "CURRENT")["modelPackageArn"].endswith("/2")


def test_the_digest_of_the_judged_bundle_goes_with_the_model(platform: Platform) -> None:
    assert run(platform).status == "SUCCEEDED"
    container = platform.aws.models[JOB]["PrimaryContainer"]
    assert container["Environment"] == {"SERVING_BUNDLE_DIGEST": DIGEST, "SERVING_NAME": "ncf"}
    assert platform.aws.packages[0]["CustomerMetadataProperties"]["bundleDigest"] == DIGEST
    assert platform.cloud.item("SERVING", "CURRENT")["bundleDigest"] == DIGEST
    assert platform.cloud.item(f"CHAMPION#{RUN}")["bundleDigest"] == DIGEST


def test_in_a_bucket_with_versions_the_version_is_pinned(platform: Platform) -> None:
    cloud = platform.cloud
    cloud.s3.put_bucket_versioning(Bucket=ARTIFACTS, VersioningConfiguration={"Status": "Enabled"})
    cloud.s3.delete_object(Bucket=ARTIFACTS, Key=MODEL, VersionId="null")  # from before it had versions
    cloud.write(ARTIFACTS, MODEL, b"a model")
    version = cloud.s3.head_object(Bucket=ARTIFACTS, Key=MODEL)["VersionId"]
    run(platform, Evaluate=lambda: cloud.write(ARTIFACTS, MODEL, b"a model"))  # the same bytes, and another version
    assert f" and version {version} as at the training's end" in reason(platform)
    (later,) = [
        entry["VersionId"]
        for entry in cloud.s3.list_object_versions(Bucket=ARTIFACTS, Prefix=MODEL)["Versions"]
        if entry["IsLatest"]
    ]
    cloud.s3.delete_object(Bucket=ARTIFACTS, Key=MODEL, VersionId=later)
    assert run(platform).status == "SUCCEEDED", "the remedy that the sentence names"
    assert platform.aws.packages[0]["CustomerMetadataProperties"]["modelDataVersionId"] == version


@pytest.mark.parametrize("key", [MODEL, OUTPUT])
def test_an_archive_that_is_missing_is_named_and_pinned_when_it_is_there(platform: Platform, key: str) -> None:
    content = platform.cloud.s3.get_object(Bucket=ARTIFACTS, Key=key)["Body"].read()
    platform.cloud.s3.delete_object(Bucket=ARTIFACTS, Key=key)
    assert run(platform).status == "FAILED"
    ledger = platform.cloud.item(f"RUN#{RUN}")
    assert (ledger["error"], key in ledger["reasons"][0]) == ("ArtefactMissing", True)
    platform.cloud.write(ARTIFACTS, key, content)
    assert run(platform).status == "SUCCEEDED"


def test_an_archive_that_came_after_the_training_had_ended_is_not_judged_without_a_pin(platform: Platform) -> None:
    content = platform.cloud.s3.get_object(Bucket=ARTIFACTS, Key=MODEL)["Body"].read()
    platform.cloud.s3.delete_object(Bucket=ARTIFACTS, Key=MODEL)
    run(platform, Evaluate=lambda: platform.cloud.write(ARTIFACTS, MODEL, content))
    ledger = platform.cloud.item(f"RUN#{RUN}")
    assert ledger["error"] == "InvalidInput"
    assert "training.modelData.etag must be a string: modelDataUrl was not there" in ledger["reasons"][0]
