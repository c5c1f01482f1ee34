"""Runs side by side: what differs stands there, and what is missing is named."""

import threading
from typing import Any, cast

import pytest

from control import comparisons
from control.comparisons import Side
from control.evaluations import Evidence, NotJudged
from control.prices import Price


def one(run_id: str, interactions: int, learning_rate: str, events: dict[str, int]) -> Side:
    run = {"status": "DEPLOYED", "startedAt": "2026-11-29T14:16:58Z", "endedAt": "2026-11-29T14:17:35Z"}
    report = {"candidate": {"full": {"ndcg": 0.0789}}, "data": {"itemShift": 2.02}}
    return Side(
        Evidence(run_id, run, {"verdict": "ACCEPTED"}, report),
        {"counts": {"users": 610, "interactions": interactions}, "eventTypes": events},
        {
            "HyperParameters": {"run_id": run_id, "epochs": "15", "learning_rate": learning_rate},
            "BillableTimeInSeconds": 1800,
            "ResourceConfig": {"InstanceCount": 2},
        },
        comparisons.epochs(["epoch=1/2 train_loss=0.5000 samples_per_second=10 seconds=1.00"]),
        price=Price(0.25),
    )


BEFORE = one("v1-r1", 6100, "0.001", {"view": 3, "purchase": 1})
AFTER = one("v2-r1", 12200, "0.002", {"view": 1, "purchase": 1})
BROKEN = Side(Evidence("v3-r1", {"status": "FAILED", "error": "out of memory"}))


def test_the_runs_are_read_at_once_and_one_that_cannot_be_read_stands_in_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = threading.Barrier(comparisons.MOST_RUNS, timeout=10)

    def side(connection: Any, run_id: str) -> Side:
        waiting.wait()  # it breaks unless all are being read
        if run_id == "r3":
            raise NotJudged("the ledger has no run r3")
        return Side(Evidence(run_id))

    monkeypatch.setattr(comparisons, "side", side)
    names = [f"r{number}" for number in range(comparisons.MOST_RUNS)]
    found = comparisons.sides(cast(Any, None), names)
    assert [one.run_id if isinstance(one, Side) else str(one) for one in found] == [
        "the ledger has no run r3" if name == "r3" else name for name in names
    ]


def test_only_hyperparameters_that_differ_are_shown() -> None:
    assert comparisons.hyperparameter_rows([BEFORE, AFTER]) == [
        {"what": "learning_rate", "v1-r1": "0.001", "v2-r1": "0.002"}
    ]


def test_counts_activity_and_event_mix_are_compared() -> None:
    rows = {row["what"]: (row["v1-r1"], row["v2-r1"]) for row in comparisons.data_rows([BEFORE, AFTER])}
    assert rows["counts: interactions"] == (6100, 12200)
    assert rows["interactions per user"] == (10, 20)
    assert rows["share of the event view"] == (0.75, 0.5)
    assert "counts: users" not in rows


def test_figures_have_duration_and_cost() -> None:
    rows = {row["what"]: row["v1-r1"] for row in comparisons.figure_rows([BEFORE])}
    assert (rows["verdict"], rows["NDCG among all items"], rows["run, s"]) == ("ACCEPTED", 0.0789, 37.0)
    assert rows["training cost, USD"] == 0.25


def test_a_run_that_failed_early_stands_beside_the_other_and_names_what_it_lacks() -> None:
    assert BEFORE.missing == []
    assert len(BROKEN.missing) == 5
    rows = {row["what"]: (row["v1-r1"], row["v3-r1"]) for row in comparisons.figure_rows([BEFORE, BROKEN])}
    assert rows["verdict"] == ("ACCEPTED", "FAILED")
    assert rows["NDCG among all items"] == (0.0789, None)
    assert comparisons.cost(BROKEN) is None
    assert {"what": "epochs", "v1-r1": "15", "v3-r1": None} in comparisons.hyperparameter_rows([BEFORE, BROKEN])


def test_an_epoch_that_was_trained_twice_counts_once() -> None:
    line = "epoch={}/2 train_loss={} samples_per_second=10 seconds=1.00"
    found = comparisons.epochs([line.format(2, 0.4), line.format(1, 0.5), "noise", line.format(2, 0.3)])
    assert [(epoch.epoch, epoch.loss) for epoch in found] == [(1, 0.5), (2, 0.3)]


class Logs:
    """A log group whose listing ignores the prefix, as the embedded AWS does in some calls."""

    def __init__(self) -> None:
        self.losses = {"ncf-v1-r1/a": "0.5", "ncf-v1-r10/a": "0.9", "ncf-v2-r1/a": "0.7"}

    def client(self, service: str) -> Any:
        assert service == "logs"
        return self

    def describe_log_streams(self, **call: Any) -> dict[str, Any]:
        return {"logStreams": [{"logStreamName": name} for name in self.losses]}

    def get_log_events(self, logStreamName: str, nextToken: str = "", **call: Any) -> dict[str, Any]:
        line = f"epoch=1/1 train_loss={self.losses[logStreamName]} samples_per_second=10 seconds=1.00"
        return {"events": [] if nextToken else [{"message": line}], "nextForwardToken": "end"}


def test_a_curve_has_only_the_lines_of_its_own_job() -> None:
    assert [epoch.loss for epoch in comparisons.training_epochs(Logs(), "ncf-v1-r1")] == [0.5]
    assert [epoch.loss for epoch in comparisons.training_epochs(Logs(), "ncf-v2-r1")] == [0.7]
    assert comparisons.training_epochs(Logs(), "ncf-v9-r1") == ()
