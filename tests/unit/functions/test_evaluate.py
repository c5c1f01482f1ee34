"""State Evaluate: the archive that a job left, the verdict in the ledger, and the policy in the bucket."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from contracts import archives
from evaluate import archive
from evaluate.archive import BrokenArchive
from tests.unit.functions.cloud import (
    ARTIFACTS,
    CONTEXT,
    DIGEST,
    MODEL_URL,
    OUTPUT_URL,
    RUN,
    VERSION,
    Cloud,
    archive_of,
    sample_event,
)
from tests.unit.functions.test_gate import INCUMBENT, differing, incumbent, report


def test_reads_the_files_that_were_asked_for_and_no_others() -> None:
    content = archive_of({"./a.json": b"A", "b.json": b"B", "c.json": b"C"})
    assert archive.read(io.BytesIO(content), ("a.json", "b.json")) == {"a.json": b"A", "b.json": b"B"}


def test_a_link_is_not_followed() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("a.json")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(BrokenArchive, match=r"a\.json is not a plain file but a symbolic link"):
        archive.read(io.BytesIO(buffer.getvalue()), ("a.json",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b"no archive", "cannot be read"),
        (archive_of({"a.json": b"A" * 5000})[:-40], "cannot be read"),
        (archive_of({"b.json": b"B"}), "lacks a.json"),
        (archive_of({f"{n}": b"" for n in range(archives.MAXIMUM_MEMBERS + 1)}), "more than 1000 members"),
        (
            archive_of({"a.json": b"A" * (archive.MAXIMUM_MEMBER_BYTES + 1)}),
            "a.json has 16777217 bytes, more than 16777216",
        ),
        (archive_of({"./a.json": b"A", "a.json": b"B"}), "a.json is in the archive twice"),
    ],
    ids=["empty", "no archive", "cut short", "another file", "many files", "a large file", "the same twice"],
)
def test_a_broken_archive_says_what_is_wrong(content: bytes, words: str) -> None:
    with pytest.raises(BrokenArchive) as caught:
        archive.read(io.BytesIO(content), ("a.json",))
    assert words in str(caught.value)


def test_an_archive_that_unpacks_to_very_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAXIMUM_TOTAL_BYTES", 1_000_000)
    bomb = archive_of({"zeros": bytes(1_000_001), "a.json": b"A"})
    assert len(bomb) < 10_000
    with pytest.raises(BrokenArchive, match="1000000 bytes"):
        archive.read(io.BytesIO(bomb), ("a.json",))


# The handler

KEY = OUTPUT_URL.removeprefix(f"s3://{ARTIFACTS}/")


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud) -> ModuleType:
    cloud.listen()
    return load("evaluate")


def deliver(cloud: Cloud, document: Any, model: bytes = b"a model") -> Cloud:
    """Write the artefacts of a finished training; returns `cloud`."""
    files = {"evaluation.json": json.dumps(document).encode(), "golden.json": b"[]", "popular.json": b"{}"}
    cloud.write(ARTIFACTS, KEY, archive_of(files))
    cloud.write(ARTIFACTS, MODEL_URL.removeprefix(f"s3://{ARTIFACTS}/"), model)
    return cloud


def unnamed() -> dict[str, Any]:
    """A report that does not say which bundle it measured."""
    return {name: value for name, value in report().items() if name != "bundleDigest"}


def test_accepts_the_model_of_its_sample_event_and_keeps_the_evidence(app: ModuleType, cloud: Cloud) -> None:
    deliver(cloud, report())
    answer = app.handler(cloud.pinned("evaluate"), CONTEXT)
    assert answer["verdict"] == "ACCEPTED"
    assert answer["reportUri"] == f"s3://{ARTIFACTS}/runs/{RUN}/evaluation.json"
    assert (answer["codeVersion"], answer["bundleDigest"]) == ("5f" * 32, DIGEST)
    kept = cloud.s3.get_object(Bucket=ARTIFACTS, Key=f"runs/{RUN}/evaluation.json")["Body"].read()
    assert json.loads(kept) == report()
    decision = cloud.item(f"RUN#{RUN}", "DECISION#gate")
    assert decision["verdict"] == "ACCEPTED"
    assert float(decision["figures"]["candidate"]["fullHitRate"]) == 0.12
    assert cloud.events() == [
        ("TrainingCompleted", {"schemaVersion": "1.0", "namePrefix": "ncf", "runId": RUN, "datasetVersion": VERSION})
    ]


def test_rejects_a_model_with_its_reasons_in_the_ledger(app: ModuleType, cloud: Cloud) -> None:
    cloud.put("SERVING", "CURRENT", runId=INCUMBENT, datasetVersion=INCUMBENT[:-3])
    deliver(cloud, differing(-0.01))
    answer = app.handler(cloud.pinned("evaluate"), CONTEXT)
    assert answer["verdict"] == "REJECTED"
    assert "0.6% sure that it is better, 95% asked" in answer["reasons"][0]
    decision = cloud.item(f"RUN#{RUN}", "DECISION#gate")
    assert (decision["verdict"], decision["reasons"]) == ("REJECTED", answer["reasons"])
    assert cloud.item("SERVING", "CURRENT")["runId"] == INCUMBENT


@pytest.mark.parametrize(
    ("split", "verdict"), [(None, "REJECTED"), ("leave-last-out", "REJECTED"), ("global-time", "ACCEPTED")]
)
@pytest.mark.fault("E14")
def test_a_serving_model_that_collapses_is_compared_with_its_own_report_of_the_same_protocol(
    split: str | None, verdict: str, app: ModuleType, cloud: Cloud
) -> None:
    cloud.put("SERVING", "CURRENT", runId=INCUMBENT, datasetVersion=INCUMBENT[:-3])
    before = {"candidate": {"full": {"ndcg": 0.5}}} | ({"protocol": {"split": split}} if split else {})
    cloud.write(ARTIFACTS, f"runs/{INCUMBENT}/evaluation.json", before)
    deliver(cloud, differing(0.01))
    answer = app.handler(cloud.pinned("evaluate"), CONTEXT)
    assert answer["verdict"] == verdict
    told = "the serving model's NDCG is 0.0500, and was 0.5000 when it was judged"
    assert (told in answer["reasons"][0]) == (verdict == "REJECTED")
    assert ("judged by global-time" in answer["reasons"][-1]) == (split == "global-time")


@pytest.mark.parametrize(
    ("prepare", "name", "words"),
    [
        (lambda cloud: None, "ArtefactMissing", "model.tar.gz is missing"),
        (lambda cloud: deliver(cloud, report(), b""), "ArtefactMissing", "model.tar.gz is missing, empty"),
        (
            lambda cloud: deliver(cloud, report()).s3.delete_object(Bucket=ARTIFACTS, Key=KEY),
            "ArtefactMissing",
            KEY,
        ),
        (
            lambda cloud: deliver(cloud, report()).write(ARTIFACTS, KEY, b"cut"),
            "ArtefactMissing",
            "cannot be read",
        ),
        (
            lambda cloud: deliver(cloud, unnamed()),
            "UntrustworthyReport",
            "bundleDigest is missing; it must be 64 lower",
        ),
        (lambda cloud: deliver(cloud, [1]), "UntrustworthyReport", "must be a JSON object, not a list"),
        (lambda cloud: deliver(cloud, report(hit_rate=float("nan"))), "UntrustworthyReport", "not nan"),
    ],
)
@pytest.mark.fault("E01")
def test_a_model_that_cannot_be_judged_is_a_fault_without_a_decision(
    app: ModuleType, cloud: Cloud, prepare: Callable[[Cloud], Any], name: str, words: str
) -> None:
    prepare(cloud)
    with pytest.raises(Exception, match=words) as caught:
        app.handler(cloud.pinned("evaluate"), CONTEXT)
    assert type(caught.value).__name__ == name
    assert cloud.item(f"RUN#{RUN}", "DECISION#gate") == {}


def test_the_metric_is_of_the_verdict_and_the_log_names_the_run(
    app: ModuleType,
    cloud: Cloud,
    log: Callable[[], list[dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    deliver(cloud, report())
    app.handler(cloud.pinned("evaluate"), CONTEXT)
    assert '"ModelAccepted":[1.0]' in capsys.readouterr().out
    [line] = [line for line in log() if line["message"] == "model judged"]
    assert (line["run_id"], line["dataset_version"], line["verdict"]) == (RUN, VERSION, "ACCEPTED")


def test_artefacts_elsewhere_are_refused(app: ModuleType) -> None:
    with pytest.raises(Exception, match=r"training\.modelDataUrl must be below"):
        app.handler({"runId": RUN, "training": None}, CONTEXT)
    event = sample_event("evaluate")
    event["training"]["outputUrl"] = "s3://elsewhere/training/x/output/output.tar.gz"
    event["training"]["modelDataUrl"] = MODEL_URL
    with pytest.raises(Exception, match=r"model.tar.gz is missing|outputUrl must be below"):
        app.handler(event, CONTEXT)
    event["training"]["modelDataUrl"] = f"s3://{ARTIFACTS}/runs/x"
    with pytest.raises(Exception, match=r"training\.modelDataUrl must be below"):
        app.handler(event, CONTEXT)


def test_a_policy_that_cannot_be_used_stops_start_up(load: Callable[..., ModuleType]) -> None:
    with pytest.raises(Exception, match="GatePolicy: floors has an unknown key hitRate"):
        load("evaluate", GATE_POLICY='{"floors": {"hitRate": 0.5}}')


def test_a_run_judged_again_after_its_promotion_is_measured_against_the_model_before_it(
    app: ModuleType, cloud: Cloud
) -> None:
    cloud.put("SERVING", "CURRENT", runId=RUN, datasetVersion=VERSION, previous={"runId": INCUMBENT})
    deliver(cloud, report(incumbent()))
    assert app.handler(cloud.pinned("evaluate"), CONTEXT)["verdict"] == "ACCEPTED"


# A policy that is changed without a deployment


def verdict_of(cloud: Cloud) -> dict[str, Any]:
    return cloud.item(f"RUN#{RUN}", "DECISION#gate")


def test_the_policy_in_the_bucket_holds_in_place_of_the_parameter_from_the_next_verdict_on(
    app: ModuleType, cloud: Cloud
) -> None:
    deliver(cloud, report())
    assert app.handler(cloud.pinned("evaluate"), CONTEXT)["verdict"] == "ACCEPTED"
    by_parameter = verdict_of(cloud)["figures"]["policy"]
    assert by_parameter["source"] == "the template's parameter"
    cloud.write(ARTIFACTS, "policy/gate.json", {"minimumTestUsers": 2, "floors": {"fullHitRate": 0.99}})
    answer = app.handler(cloud.pinned("evaluate"), CONTEXT)
    assert answer["verdict"] == "REJECTED"
    assert "below the floor of 0.99" in answer["reasons"][0]
    by_object = verdict_of(cloud)["figures"]["policy"]
    assert by_object["source"] == "policy/gate.json"
    assert by_object["sha256"] != by_parameter["sha256"]
    cloud.write(ARTIFACTS, "policy/gate.json", b'{"floors":{"fullHitRate":0.99}, "minimumTestUsers":2}')
    app.handler(cloud.pinned("evaluate"), CONTEXT)
    assert verdict_of(cloud)["figures"]["policy"] == by_object, (
        "the digest is of what it says, not of how it is written"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", r"policy/gate\.json is not JSON"),
        (b"[]", r"policy/gate\.json must be a JSON object, not a list"),
        (
            b'{"floor": {}}',
            r"^policy/gate\.json has an unknown key floor; the keys are minimumTestUsers, protocol, floors",
        ),
        (
            b'{"sliceGains": {"sampledNDCG": 0}}',
            r"^policy/gate\.json: sliceGains has an unknown key sampledNDCG; the keys are",
        ),
        (
            b'{"floors": {"coverage": 1e400}}',
            r"^policy/gate\.json: floors\.coverage must be a number from 0 to 1, not inf",
        ),
        (
            b'{"floors": {"coverage": 1' + b"0" * 400 + b"}}",
            r"^policy/gate\.json: floors\.coverage must be a number from 0 to 1, not a number beyond the range",
        ),
        (b'{"floors": ' + b"[" * 500 + b"]" * 500 + b"}", r"^policy/gate\.json is nested too deeply"),
        (b'{"floors": {}, "floors": {}}', r"^policy/gate\.json has the key 'floors' twice"),
        (
            b'{"floors": {"sampledHitRate": 2}}',
            r"^policy/gate\.json: floors\.sampledHitRate must be a number from 0 to 1, not 2",
        ),
    ],
)
def test_a_policy_with_a_mistake_judges_nothing(app: ModuleType, cloud: Cloud, content: bytes, words: str) -> None:
    deliver(cloud, report())
    cloud.write(ARTIFACTS, "policy/gate.json", content)
    with pytest.raises(Exception, match=words) as caught:
        app.handler(cloud.pinned("evaluate"), CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
    assert verdict_of(cloud) == {}


# What if


def test_a_draft_policy_judges_kept_reports_and_records_nothing(app: ModuleType, cloud: Cloud) -> None:
    deliver(cloud, report())
    app.handler(cloud.pinned("evaluate"), CONTEXT)
    before = verdict_of(cloud)
    strict = {"floors": {"fullHitRate": 0.99}}
    [run] = app.handler({"draft": strict, "runIds": [RUN]}, CONTEXT)["runs"]
    assert (run["runId"], run["verdict"], run["recorded"]) == (RUN, "REJECTED", "ACCEPTED")
    assert "below the floor of 0.99" in run["reasons"][0]
    [same] = app.handler({"draft": {}, "runIds": [RUN]}, CONTEXT)["runs"]
    assert same["verdict"] == "ACCEPTED"
    assert verdict_of(cloud) == before
    assert len(cloud.events()) == 1


def test_a_draft_policy_compares_with_the_model_that_the_report_measures(app: ModuleType, cloud: Cloud) -> None:
    cloud.write(ARTIFACTS, f"runs/{RUN}/evaluation.json", differing(0.003))
    verdicts = [
        app.handler({"draft": {"better": {"confidence": sure}}, "runIds": [RUN]}, CONTEXT)["runs"][0]["verdict"]
        for sure in (0.95, 0.7)
    ]
    assert verdicts == ["REJECTED", "ACCEPTED"]


def test_a_draft_policy_knows_what_the_model_of_then_had_when_it_was_judged(app: ModuleType, cloud: Cloud) -> None:
    cloud.write(ARTIFACTS, f"runs/{RUN}/evaluation.json", differing(0.01))
    cloud.write(ARTIFACTS, f"runs/{INCUMBENT}/evaluation.json", {"candidate": {"full": {"ndcg": 0.5}}})
    [run] = app.handler({"draft": {}, "runIds": [RUN]}, CONTEXT)["runs"]
    assert run["verdict"] == "REJECTED"
    assert "the serving model's NDCG is 0.0500, and was 0.5000 when it was judged" in run["reasons"][0]


def test_a_run_without_a_report_cannot_be_judged_again(app: ModuleType, cloud: Cloud) -> None:
    [run] = app.handler({"draft": {}, "runIds": [RUN]}, CONTEXT)["runs"]
    assert (run["verdict"], run["recorded"]) == (None, None)
    assert "is missing: the run was not judged" in run["reasons"][0]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"draft": [], "runIds": [RUN]}, r"draft must be an object, not \[\]"),
        ({"draft": {}, "runIds": []}, "runIds must be a list of 1 to 20 run ids"),
        ({"draft": {}}, "runIds must be a list of 1 to 20 run ids"),
        ({"draft": {}, "runIds": ["x"]}, "runIds must be a run id"),
        ({"draft": {"floor": 1}, "runIds": [RUN]}, "the draft policy has an unknown key floor"),
    ],
)
def test_names_what_is_wrong_with_a_what_if(app: ModuleType, event: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=words) as caught:
        app.handler(event, CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
