"""Progress lines of training and preparation, as a person reads them."""

from contracts.lines import Epoch
from control import progress


def test_an_epoch_is_shown_with_its_loss_and_speed() -> None:
    epoch = Epoch(3, 20, 0.23451, 812345.0, 1.24)
    assert progress.note(epoch) == "train loss 0.2345, 812,345 samples/s"


def test_reads_a_preparation_step_as_a_person_would_write_it() -> None:
    assert progress.step_in("step=read rows=100836 quarantined=0") == "read: rows 100,836, quarantined 0"
    assert progress.step_in("26/11/23 15:13:00 INFO preprocess: step=write_manifest") == "write manifest"
    assert progress.step_in("Stage 3 finished") is None
    assert progress.step_in("step=read rows=\u0663\u00b2") == "read: rows \u0663\u00b2"
