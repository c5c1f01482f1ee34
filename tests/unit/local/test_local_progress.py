"""Progress lines of training and preparation, in the contract's form and as they appear in logs."""

import pytest

from local import progress


def test_reads_an_epoch_with_its_figures() -> None:
    epoch = progress.epoch_in("epoch=3/20 train_loss=0.2345 samples_per_second=812345 seconds=1.24")
    assert epoch is not None
    assert (epoch.epoch, epoch.total) == (3, 20)
    assert epoch.figures == {"train_loss": "0.2345", "samples_per_second": "812345", "seconds": "1.24"}
    assert epoch.note == "train loss 0.2345, 812,345 samples/s"


def test_reads_an_epoch_behind_a_log_prefix_and_without_figures() -> None:
    epoch = progress.epoch_in("2026-11-23 15:13:00 INFO epoch=1/5")
    assert epoch == progress.Epoch(1, 5, {})
    assert epoch.note == ""


@pytest.mark.parametrize(
    "line", ["", "epoch=0/20", "epoch=21/20 train_loss=1", "epoch=x/20", "an epoch of 3/20", "epochs=3/20x"]
)
def test_other_lines_are_not_epochs(line: str) -> None:
    assert progress.epoch_in(line) is None


def test_a_rate_that_is_not_a_number_is_shown_unchanged() -> None:
    epoch = progress.epoch_in("epoch=1/2 samples_per_second=nonsense")
    assert epoch is not None
    assert epoch.note == "nonsense samples/s"


def test_reads_a_preparation_step_as_a_person_would_write_it() -> None:
    assert progress.step_in("step=read rows=100836 quarantined=0") == "read: rows 100,836, quarantined 0"
    assert progress.step_in("26/11/23 15:13:00 INFO preprocess: step=write_manifest") == "write manifest"
    assert progress.step_in("Stage 3 finished") is None


def test_reads_the_evaluation_line() -> None:
    line = "evaluation hit_rate_at_10=0.7123 ndcg_at_10=0.4321 full_hit_rate_at_10=0.0912 full_ndcg_at_10=0.0456"
    assert progress.evaluation_in(line) == {
        "hit_rate_at_10": "0.7123",
        "ndcg_at_10": "0.4321",
        "full_hit_rate_at_10": "0.0912",
        "full_ndcg_at_10": "0.0456",
    }
    assert progress.evaluation_in("evaluation begins") is None
