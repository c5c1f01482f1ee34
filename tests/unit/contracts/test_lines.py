"""The lines that one program prints and another parses."""

from __future__ import annotations

import re

import pytest

from contracts import lines
from contracts.lines import Epoch


@pytest.mark.parametrize("epoch", [Epoch(3, 15, 0.2345, 812345, 1.24), Epoch(1, 1, 1e-4, 0, 0, 0.4321)])
def test_an_epoch_is_read_back(epoch: Epoch) -> None:
    assert lines.epoch_in(f"{epoch}\n") == epoch
    assert lines.FILTER in str(epoch)


@pytest.mark.parametrize(
    "line",
    ["", "epoch=1", "epoch=x/3 train_loss=1", "epoch=٣/٣ train_loss=1", "epoch=1/3 train_loss=zero", "an epoch=1/3"],
)
def test_any_other_line_is_none(line: str) -> None:
    assert lines.epoch_in(line) is None


def test_the_evaluation_is_read_back() -> None:
    line = lines.evaluation(10, (0.7123, 0.4321), (0.0912, 0.0456))
    assert (
        line == "evaluation hit_rate_at_10=0.7123 ndcg_at_10=0.4321 full_hit_rate_at_10=0.0912 full_ndcg_at_10=0.0456"
    )
    assert lines.evaluation_in(line) == {
        "hit_rate_at_10": "0.7123",
        "ndcg_at_10": "0.4321",
        "full_hit_rate_at_10": "0.0912",
        "full_ndcg_at_10": "0.0456",
    }
    assert lines.evaluation_in("evaluation on 610 people") is None


def test_every_metric_is_found_in_its_line_and_in_no_other() -> None:
    said = [str(Epoch(3, 15, 0.2345, 812345, 1.24)), lines.evaluation(10, (0.7, 0.4), (0.09, 0.05))]
    found = {name: [re.findall(regex, line) for line in said] for name, regex in lines.METRICS.items()}
    assert found == {
        "TrainLoss": [["0.2345"], []],
        "SamplesPerSecond": [["812345"], []],
        "HitRateAt10": [[], ["0.7000"]],
        "NdcgAt10": [[], ["0.4000"]],
        "FullHitRateAt10": [[], ["0.0900"]],
        "FullNdcgAt10": [[], ["0.0500"]],
    }
