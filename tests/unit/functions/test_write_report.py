"""The report of a run: complete for a complete run, and still valid HTML when much is missing."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from contracts.lines import Epoch
from contracts.outcomes import Answers, Counts, Window
from shared.errors import InvalidInput
from shared.ledger import Ledger
from tests.unit.functions.cloud import (
    ARTIFACTS,
    CONTEXT,
    DATA,
    JOB,
    RUN,
    VERSION,
    Cloud,
    sample_event,
    training_job,
)
from write_report import facts, page
from write_report.facts import Cost, Facts

BEFORE = "v20261122t151300z-0f0e0d0c"
LOG = [
    "training neumf on cpu: 100249 interactions",
    "epoch=1/3 train_loss=0.9000 samples_per_second=812345 seconds=1.24 validation_ndcg=0.3000",
    "epoch=2/3 train_loss=0.5000 samples_per_second=812345 seconds=1.24 validation_ndcg=0.4000",
    "epoch=2/3 train_loss=0.4000 samples_per_second=812345 seconds=1.24 validation_ndcg=0.4100",
    "epoch=x train_loss=nonsense",
    "epoch=3/3 train_loss=zero seconds=1",
]


def epoch(number: int, loss: float, validation_ndcg: float | None = None, epochs: int = 3) -> Epoch:
    return Epoch(number, epochs, loss, 812345, 1.24, validation_ndcg)


def figures(ndcg: float) -> dict[str, Any]:
    return {
        "sampled": {"hitRate": 0.7, "ndcg": ndcg},
        "full": {"hitRate": 0.1, "ndcg": 0.05},
        "coverage": 0.3,
        "standardErrors": {"fullNdcg": 0.004},
        "slices": {"newUsers": {"users": 12, "full": {"ndcg": ndcg / 2}}},
    }


REPORT = {
    "protocol": {"k": 10, "testUsers": 610, "negatives": 99},
    "candidate": figures(0.4321),
    "incumbent": {**figures(0.4), "datasetVersion": BEFORE},
    "baselines": {"popularity": figures(0.2)},
}
GATE = {
    "verdict": "ACCEPTED",
    "figures": {
        "checks": [
            {"name": "floor.sampledNdcg", "passed": True, "value": 0.4321, "threshold": 0.08},
            {"name": "margin <script>", "passed": False, "value": 0.4, "threshold": 0.5},
        ],
        "policy": {"source": "policy/gate.json", "sha256": "ab" * 32},
    },
    "updatedAt": "2026-11-23T15:20:00.000Z",
}


def run(**given: Any) -> Any:
    """A run with only this record in the ledger."""
    return {"runId": RUN, **given}


RECORD: Any = {
    "runId": RUN,
    "status": "DEPLOYED",
    "reasons": ["NDCG at 10 is 0.4321, <b>better</b>"],
    "startedAt": "2026-11-23T15:13:00.000Z",
    "endedAt": "2026-11-23T15:31:00.000Z",
}
DECISIONS: Any = {"gate": GATE, "deployment": {"updatedAt": "2026-11-23T15:22:00.000Z"}}
WHOLE = Facts(
    run=RECORD,
    decisions=DECISIONS,
    report=REPORT,
    manifest={"datasetVersion": VERSION, "counts": {"interactions": 1200, "users": 50}},
    before={"datasetVersion": BEFORE, "counts": {"interactions": 1000, "users": 51}},
    epochs=(epoch(1, 0.9, 0.3), epoch(2, 0.4, 0.41)),
    cost=Cost("ml.g4dn.xlarge", 900, 14400, 0.736),
)


class Reader(HTMLParser):
    """The text and tags of a page; raises for tags that are not closed in order."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(content)
        assert self._open == [], f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append(data.strip())


def test_a_whole_page_tells_everything_and_needs_nothing_from_outside() -> None:
    content = page.render(WHOLE)
    reader = Reader(content)
    text = " | ".join(reader.text)
    for words in (
        f"Run {RUN}", "its model serves", "+200", "-1", "0.9000", "0.4000",
        "floor.sampledNdcg | pass | 0.4321 | 0.0800",
        "new users | 12 | 0.2160 | 0.2000 | 0.1000", "popularity | 0.0500 | 0.0040 | 0.1000", "deployment began",
        "ended as DEPLOYED | 2026-11-23 15:31:00.000 | 540 s", "0.18 USD (at most 2.94) at 0.736 USD per hour",
        "by policy/gate.json (sha256 abababababab…)", f"compared with {BEFORE}",
    ):  # fmt: skip
        assert words in text, words
    assert reader.tags.count("svg") == 2, "the loss, and the validation NDCG"
    for outside in ("http://", "https://", "src=", "<script"):
        assert outside not in content


def test_a_page_shows_the_test_with_repeats_and_how_much_of_the_order_is_not_known() -> None:
    repeats = {"users": 80, "full": {"ndcg": 0.25}}
    models = {name: {**figures(0.4), "slices": {"withRepeats": repeats}} for name in ("candidate", "incumbent")}
    report = {**REPORT, **models, "protocol": {"k": 10, "testUsers": 610, "negatives": 99, "tiedInteractions": 0.5}}
    text = " | ".join(Reader(page.render(Facts(run=RECORD, report=report))).text)
    assert "with items that users had before | 80 | 0.2500 | 0.2500" in text
    assert "50% of the interactions have the time of another one of their user: their order is not known" in text
    report["protocol"] = {"tiedInteractions": 0.49}
    assert "their order is not known" not in page.render(Facts(run=RECORD, report=report))


def test_nothing_of_what_others_wrote_becomes_markup() -> None:
    content = page.render(WHOLE)
    assert "<b>better</b>" not in content and "&lt;b&gt;better&lt;/b&gt;" in content
    assert "margin &lt;script&gt;" in content


def test_a_run_that_failed_early_still_has_a_page() -> None:
    content = page.render(Facts(run=run(status="FAILED", reasons=["StartTraining: no capacity"])))
    text = " | ".join(Reader(content).text)
    assert "FAILED | : the run failed. | StartTraining: no capacity" in text
    for title in ("Data", "Training", "Gate", "User and item slices"):
        assert f"| {title}" not in text


@pytest.mark.parametrize("epochs", [(epoch(1, 0.5, epochs=1),), (epoch(1, 0.5), epoch(2, 0.5))])
def test_a_curve_of_one_epoch_or_without_a_change_can_be_drawn(epochs: tuple[Epoch, ...]) -> None:
    assert "nan" not in page.render(Facts(run=run(status="REJECTED"), epochs=epochs)).lower()


def test_an_epoch_that_was_trained_twice_counts_once_and_other_lines_are_passed_over() -> None:
    assert facts.epochs(LOG) == (epoch(1, 0.9, 0.3), epoch(2, 0.4, 0.41))
    line = "epoch=1/1 train_loss=0.5 samples_per_second=812345 seconds=1.24"
    assert facts.epochs([line]) == (epoch(1, 0.5, epochs=1),)


def test_without_a_price_there_are_seconds() -> None:
    content = page.render(Facts(run=run(), cost=facts.cost(training_job(BillableTimeInSeconds=61), 0.0)))
    assert "61 s billed" in content and "USD" not in content
    assert facts.cost(None, 1.0) is None


def test_each_instance_of_a_job_is_paid() -> None:
    job = training_job(BillableTimeInSeconds=1800, ResourceConfig={"InstanceType": "ml.m5.xlarge", "InstanceCount": 3})
    found = facts.cost(job, 2.0)
    assert found is not None and found.actual == 3.0
    assert "3 × ml.m5.xlarge, 1,800 s billed" in page.render(Facts(run=run(), cost=found))


# The handler


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud) -> ModuleType:
    cloud.put(f"RUN#{RUN}", kind="RUN", **WHOLE.run)
    return load("write_report")


@pytest.fixture
def logs(app: ModuleType, stub: Callable[[Any], Stubber]) -> Stubber:
    return stub(app.LOGS)


def written(cloud: Cloud) -> str:
    return str(cloud.s3.get_object(Bucket=ARTIFACTS, Key=f"runs/{RUN}/report.html")["Body"].read().decode())


def test_the_run_of_its_sample_event_gets_its_page(
    app: ModuleType, sagemaker: Stubber, logs: Stubber, cloud: Cloud
) -> None:
    cloud.put(f"RUN#{RUN}", "DECISION#gate", kind="DECISION", verdict="ACCEPTED")
    cloud.write(ARTIFACTS, f"runs/{RUN}/evaluation.json", REPORT)
    cloud.write(DATA, f"datasets/{VERSION}/manifest.json", WHOLE.manifest or {})
    cloud.write(DATA, f"datasets/{BEFORE}/manifest.json", WHOLE.before or {})
    logs.add_response(
        "filter_log_events",
        {"events": [{"message": line} for line in LOG]},
        {
            "logGroupName": "/aws/sagemaker/TrainingJobs",
            "logStreamNamePrefix": f"{JOB}/",
            "filterPattern": '"train_loss="',
        },
    )
    sagemaker.add_response("describe_training_job", training_job(BillableTimeInSeconds=900), {"TrainingJobName": JOB})
    uri = f"s3://{ARTIFACTS}/runs/{RUN}/report.html"
    assert app.handler(sample_event("write_report"), CONTEXT) == {"reportUri": uri}
    text = " | ".join(Reader(written(cloud)).text)
    assert "+200" in text and "900 s billed" in text and "ACCEPTED" in text
    head = cloud.s3.head_object(Bucket=ARTIFACTS, Key=f"runs/{RUN}/report.html")
    assert head["ContentType"] == "text/html; charset=utf-8"
    assert cloud.item(f"RUN#{RUN}", "DECISION#report")["reasons"] == [uri]


@pytest.mark.parametrize("content", [None, b"{", b"[]"])
def test_what_is_missing_or_broken_is_left_out(
    app: ModuleType, sagemaker: Stubber, logs: Stubber, cloud: Cloud, content: bytes | None
) -> None:
    if content is not None:
        cloud.write(ARTIFACTS, f"runs/{RUN}/evaluation.json", content)
    logs.add_client_error(
        "filter_log_events", "ResourceNotFoundException", "The specified log group does not exist", 400
    )
    sagemaker.add_client_error("describe_training_job", "ValidationException", "Requested resource not found.", 400)
    app.handler(sample_event("write_report"), CONTEXT)
    assert f"Run {RUN}" in written(cloud)


def test_a_preparation_has_no_page(app: ModuleType) -> None:
    event = {"detail": {"schemaVersion": "1.0", "runId": None, "datasetVersion": VERSION}}
    assert app.handler(event, CONTEXT) == {"reportUri": None}


def test_a_run_that_nobody_knows_is_refused(app: ModuleType) -> None:
    with pytest.raises(InvalidInput, match="is not in the ledger"):
        app.handler({"detail": {"runId": f"{BEFORE}-r1"}}, CONTEXT)


def test_the_page_has_what_a_search_cost_and_found() -> None:
    search = {
        "budgetSeconds": 600, "seconds": 590.4, "cpuSeconds": 1180.2, "trials": 1234, "failed": 2, "users": 610,
        "given": 0.08, "best": 0.1, "chosen": 0.1, "gain": {"mean": 0.02, "standardError": 0.004},
        "parameters": {"factors": "<32>"},
        "sentence": "1234 trials in 590 s of 10m, of which 2 failed; the time is used",
    }  # fmt: skip
    html = page.render(Facts(run=RECORD, report={**REPORT, "search": search}))
    for text in (
        "Hyperparameter search",
        "1,234, 2",
        "1,180 s",
        "590 s, 600 s",
        "0.0200 ± 0.0040",
        "&lt;32&gt;",
        "of which 2 failed",
    ):
        assert text in html
    for without in (REPORT, {**REPORT, "search": None}):
        assert "Hyperparameter search" not in page.render(Facts(run=RECORD, report=without))


# What its recommendations earned


def test_the_page_has_what_the_models_recommendations_earned() -> None:
    earned = {"personalized": Counts(12_000, 600, 12, 1199.5), "related": Counts(3_000, 30)}
    text = " | ".join(Reader(page.render(Facts(run=RECORD, earned=earned))).text)
    for words in (
        "What its recommendations earned", "personalized | 12,000 | 600 | 0.0500 | 12 | 1,199.50",
        "related | 3,000 | 30 | 0.0100 | 0 | 0.00", "all | 15,000 | 630 | 0.0420 | 12 | 1,199.50",
    ):  # fmt: skip
        assert words in text, words
    assert "earned" not in page.render(Facts(run=RECORD))


def test_a_model_that_is_replaced_gets_its_page_again_with_what_it_earned(
    app: ModuleType, sagemaker: Stubber, logs: Stubber, cloud: Cloud, book: Ledger
) -> None:
    before = f"{BEFORE}-r1"
    cloud.put(f"RUN#{before}", kind="RUN", runId=before, status="DEPLOYED")
    cloud.put("SERVING", "CURRENT", runId=RUN, previous={"runId": before})
    rows = {Answers(before, "personalized"): Counts(100, 7), Answers(RUN, "personalized"): Counts(1, 0)}
    for day in ("2026-11-24", "2026-11-25"):
        book.save_day(Window(start=day, rows=rows))
    book.save_day(Window(start="2026-01-01", rows=rows))
    for _ in range(2):
        logs.add_response("filter_log_events", {"events": []})
        sagemaker.add_client_error("describe_training_job", "ValidationException", "Requested resource not found.", 400)
    app.handler(sample_event("write_report"), CONTEXT)
    page_before = cloud.s3.get_object(Bucket=ARTIFACTS, Key=f"runs/{before}/report.html")["Body"].read().decode()
    assert "all | 200 | 14 | 0.0700" in " | ".join(Reader(page_before).text)
    assert "all | 2 | 0 | 0.0000" in " | ".join(Reader(written(cloud)).text)


@pytest.mark.parametrize(
    "serving", [{"runId": "another", "previous": {"runId": f"{BEFORE}-r1"}}, {"runId": RUN, "previous": None}]
)
def test_only_the_model_that_was_replaced_gets_its_page_again(
    app: ModuleType, sagemaker: Stubber, logs: Stubber, cloud: Cloud, serving: dict[str, Any]
) -> None:
    cloud.put(f"RUN#{BEFORE}-r1", kind="RUN", runId=f"{BEFORE}-r1", status="DEPLOYED")
    cloud.put("SERVING", "CURRENT", **serving)
    logs.add_response("filter_log_events", {"events": []})
    sagemaker.add_client_error("describe_training_job", "ValidationException", "Requested resource not found.", 400)
    app.handler(sample_event("write_report"), CONTEXT)
    assert [key for key in cloud.objects(ARTIFACTS) if key.endswith("report.html")] == [f"runs/{RUN}/report.html"]
