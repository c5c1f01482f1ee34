"""The steps from a drop to the endpoint, and the table of decisions."""

from __future__ import annotations

from typing import Any

from control import lineage

RUN, VERSION = "v1-r1", "v1"
DATASET = {
    "status": "CLAIMED",
    "begunAt": "2026-01-01T00:00:00Z",
    "source": "s3://data/raw/first/",
    "parentVersion": "v0",
}
DECISIONS: dict[str, dict[str, Any]] = {
    "training": {"figures": {"jobName": "ncf-v1-r1"}, "updatedAt": "2026-01-01T00:01:00Z"},
    "gate": {"verdict": "ACCEPTED", "reasons": ["better"], "updatedAt": "2026-01-01T00:02:00Z"},
    "registration": {
        "verdict": "Approved",
        "figures": {"modelPackageArn": "arn:aws:sagemaker:us-east-1:1:model-package/ncf-recommender/3"},
    },
    "deployment": {"verdict": "CREATE", "figures": {"endpointConfigName": "ncf-v1-r1"}},
}
SERVING = {"runId": RUN, "since": "2026-01-01T00:03:00Z"}


def test_a_model_that_serves_has_every_step_in_order() -> None:
    found = lineage.steps(RUN, {"status": "DEPLOYED"}, DATASET, DECISIONS, SERVING, {}, {})
    assert [(step.kind, step.name) for step in found] == [
        ("drop", "raw/first/"),
        ("dataset version", VERSION),
        ("training job", "ncf-v1-r1"),
        ("gate", RUN),
        ("model package", "ncf-recommender/3"),
        ("endpoint", "ncf-v1-r1"),
    ]
    assert found[1].note == "goes on from v0"
    assert found[3].note == "better" and found[3].link == "/gate?run=v1-r1"
    assert found[-1].note.startswith("serves since")


def test_a_union_names_each_of_its_drops() -> None:
    union = {"drops": [{"name": "a", "kind": "full"}, {"name": "", "kind": "append", "source": "s3://other/b/"}]}
    found = lineage.steps(RUN, {}, DATASET, {}, {}, {}, union)
    assert [(step.name, step.note) for step in found if step.kind == "drop"] == [("raw/a/", "full"), ("b/", "append")]


def test_a_model_that_was_refused_ends_at_the_gate_and_one_that_was_replaced_says_so() -> None:
    refused = {"training": DECISIONS["training"], "gate": {"verdict": "REJECTED", "reasons": ["worse"]}}
    assert lineage.steps(RUN, {}, DATASET, refused, {}, {}, {})[-1].status == "REJECTED"
    replaced = lineage.steps(RUN, {"status": "ROLLED_BACK"}, DATASET, DECISIONS, {"runId": "v2-r1"}, {}, {})[-1]
    assert (replaced.status, replaced.note) == ("ROLLED_BACK", "does not serve now")


def test_decisions_are_rows_and_those_without_a_reason_are_left_out() -> None:
    records = [
        {"pk": "RUN#v1-r1", "sk": f"DECISION#{stage}", "runId": RUN, "verdict": "X", "reasons": ["a", "b"]}
        for stage in ("gate", "pin#modelData#ncf-v1-r1", "report", "restart#v1-r1-restart-1")
    ]
    rows = lineage.decision_rows(records)
    assert [(row["stage"], row["reasons"], row["link"]) for row in rows] == [
        ("gate", "a; b", "/gate?run=v1-r1"),
        ("restart v1-r1-restart-1", "a; b", "/runs/v1-r1"),
    ]
