import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from contracts.lines import Epoch
from ncf import dataset_files
from ncf.dataset import Dataset
from ncf.fitting.loop import CHECKPOINT, fit
from ncf.fitting.precision import Precision
from ncf.interface import Context, Diverged, Stopped
from ncf.network import Architecture, Recommender
from ncf.plan import Plan

pytestmark = pytest.mark.slow

VERSION = "v20260102t030405z-0a1b2c3d"
HERE = Context()
ARCHITECTURE = Architecture("neumf", 8, (16, 8))
PLAN = Plan(
    loss="bce",
    start_scale=1.0,
    start_rate=1.0,
    epochs=3,
    batch_size=64,
    learning_rate=0.003,
    negatives_per_positive=4,
    l2=1e-6,
    dropout=0.1,
    seed=7,
)


@pytest.fixture
def board(tmp_path: Path, write: Callable[..., Path], checkerboard_pairs: list[tuple[str, str]]) -> Dataset:
    return dataset_files.load(write(tmp_path / "board", checkerboard_pairs), VERSION)


def weights(model: Recommender) -> dict[str, torch.Tensor]:
    return model.state_dict()


def equal(left: Recommender, right: Recommender) -> bool:
    return all(torch.equal(weights(left)[name], weights(right)[name]) for name in weights(left))


def test_the_same_seed_gives_the_same_weights_and_another_does_not(board: Dataset) -> None:
    first, same = fit(board, ARCHITECTURE, PLAN, HERE), fit(board, ARCHITECTURE, PLAN, HERE)
    assert equal(first, same)
    assert not equal(first, fit(board, ARCHITECTURE, replace(PLAN, seed=8), HERE))


def test_the_global_random_state_has_no_effect(board: Dataset) -> None:
    torch.manual_seed(1)
    first = fit(board, ARCHITECTURE, PLAN, HERE)
    torch.manual_seed(2)
    assert equal(first, fit(board, ARCHITECTURE, PLAN, HERE))


def test_the_epoch_line_has_the_format_of_the_metric_definitions() -> None:
    line = str(Epoch(epoch=3, epochs=20, loss=0.23451, samples_per_second=812345.4, seconds=1.239))
    assert line == "epoch=3/20 train_loss=0.2345 samples_per_second=812345 seconds=1.24"


@pytest.mark.parametrize(("loss", "steps"), [("bce", 50), ("block_bce", 32), ("block_softmax", 32)])
@pytest.mark.parametrize("stop_at", [1, 32, 50, 75])
def test_a_training_stopped_at_any_step_and_resumed_ends_with_the_same_weights(
    loss: str, steps: int, stop_at: int, board: Dataset, tmp_path: Path
) -> None:
    plan = replace(PLAN, loss=loss, shared_negatives=12, batch_size=64 if loss == "bce" else 1, patience=9)
    start = (lambda: (torch.ones(board.users, 8), torch.ones(board.items, 8))) if loss != "bce" else None
    validate = (lambda model: model.output.bias.item()) if loss == "block_bce" else None
    extra: Any = {"fingerprint": "f", "start": start, "validate": validate}
    whole = fit(board, ARCHITECTURE, plan, HERE, **extra)
    calls = iter(range(1_000_000))
    with pytest.raises(Stopped):
        fit(board, ARCHITECTURE, plan, Context(checkpoints=tmp_path, stop=lambda: next(calls) >= stop_at), **extra)
    warnings: list[str] = []
    epochs: list[Epoch] = []
    resumed = fit(
        board, ARCHITECTURE, plan, Context(checkpoints=tmp_path, warn=warnings.append, report=epochs.append), **extra
    )
    assert equal(whole, resumed)
    assert warnings == []
    losses: list[Epoch] = []
    fit(board, ARCHITECTURE, plan, Context(report=losses.append), **extra)
    # bce: 480 interactions with 4 negatives each are 37 batches of 64, so an epoch has the minimum of 50 steps. The
    # block losses have one user per step: 32 steps.
    assert [progress.loss for progress in epochs] == [progress.loss for progress in losses[stop_at // steps :]]


def test_a_finished_training_is_not_repeated(board: Dataset, tmp_path: Path) -> None:
    whole = fit(board, ARCHITECTURE, PLAN, Context(checkpoints=tmp_path), fingerprint="f")
    epochs: list[Epoch] = []
    again = fit(board, ARCHITECTURE, PLAN, Context(checkpoints=tmp_path, report=epochs.append), fingerprint="f")
    assert epochs == []
    assert equal(whole, again)


def test_a_checkpoint_with_another_fingerprint_is_ignored(board: Dataset, tmp_path: Path) -> None:
    fit(board, ARCHITECTURE, PLAN, Context(checkpoints=tmp_path), fingerprint="other data")
    warnings: list[str] = []
    model = fit(board, ARCHITECTURE, PLAN, Context(checkpoints=tmp_path, warn=warnings.append), fingerprint="f")
    assert warnings == [
        "warning: the checkpoint has other data or hyperparameters, so training starts from the beginning"
    ]
    assert equal(model, fit(board, ARCHITECTURE, PLAN, HERE))


@pytest.mark.parametrize("content", [b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", b"\xff" * 64])
def test_a_damaged_checkpoint_is_ignored(content: bytes, board: Dataset, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(content)
    warnings: list[str] = []
    model = fit(board, ARCHITECTURE, PLAN, Context(checkpoints=tmp_path, warn=warnings.append), fingerprint="f")
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: the checkpoint cannot be read, so training starts from the beginning: ")
    assert equal(model, fit(board, ARCHITECTURE, PLAN, HERE))


def test_a_checkpoint_is_written_whole_or_not_at_all(
    board: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(board, ARCHITECTURE, replace(PLAN, epochs=1), Context(checkpoints=tmp_path), fingerprint="f")
    before = (tmp_path / CHECKPOINT).read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("ncf.fitting.loop.os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        fit(
            board,
            ARCHITECTURE,
            replace(PLAN, seed=9),
            Context(checkpoints=tmp_path, warn=lambda message: None),
            fingerprint="g",
        )
    assert (tmp_path / CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("loss", ["bce", "block_bce", "block_softmax"])
def test_half_precision_has_nearly_the_same_loss_and_float32_weights(precision: str, loss: str, board: Dataset) -> None:
    plan = replace(PLAN, loss=loss, shared_negatives=12, epochs=8, dropout=0.0)
    whole: list[Epoch] = []
    half: list[Epoch] = []
    fit(board, ARCHITECTURE, plan, Context(report=whole.append))
    model = fit(board, ARCHITECTURE, replace(plan, precision=precision), Context(report=half.append))
    assert {tensor.dtype for tensor in weights(model).values()} == {torch.float32}
    assert half[-1].loss != whole[-1].loss
    assert half[-1].loss == pytest.approx(whole[-1].loss, rel=0.05)
    assert half[-1].loss < 0.95 * half[0].loss


def test_half_precision_resumes_to_the_same_weights(board: Dataset, tmp_path: Path) -> None:
    plan = replace(PLAN, precision="float16")
    whole = fit(board, ARCHITECTURE, plan, HERE)
    calls = iter(range(1_000))
    with pytest.raises(Stopped):
        fit(board, ARCHITECTURE, plan, Context(checkpoints=tmp_path, stop=lambda: next(calls) >= 60))
    with safe_open(tmp_path / CHECKPOINT, framework="pt") as file:
        assert json.loads(file.metadata()["position"])["precision"]["_growth_tracker"] == 60  # one for each step
    assert equal(whole, fit(board, ARCHITECTURE, plan, Context(checkpoints=tmp_path)))


def test_a_step_that_overflows_is_skipped_and_the_scale_is_halved() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight], lr=0.1, fused=True)
    precision = Precision("float16", torch.device("cpu"))
    scale = precision.state()["scale"]
    precision.step((weight * torch.tensor([float("inf"), 1.0])).sum(), optimizer)
    assert weight.tolist() == [1.0, 1.0]
    assert precision.state()["scale"] == scale / 2
    again = Precision("float16", torch.device("cpu"))
    again.load_state(precision.state())
    assert again.state() == precision.state()
    optimizer.zero_grad()
    again.step(weight.sum(), optimizer)
    assert weight.tolist() == pytest.approx([0.9, 0.9])


@pytest.mark.parametrize("rate", [1e9, 1e30])
def test_a_training_that_diverges_says_so(rate: float, board: Dataset) -> None:
    with pytest.raises(Diverged, match=r"in epoch 1 of 3, with learning_rate .* try a smaller learning_rate"):
        fit(board, ARCHITECTURE, replace(PLAN, learning_rate=rate), HERE)


def test_a_user_with_every_item_is_left_out_of_training(tmp_path: Path, write: Callable[..., Path]) -> None:
    rows = [("all", "a"), ("all", "b"), ("all", "c"), ("all", "d"), ("one", "a"), ("one", "b"), ("two", "d")]
    path = write(tmp_path / "some", rows)
    model = fit(dataset_files.load(path, VERSION), ARCHITECTURE, replace(PLAN, epochs=1), HERE)
    assert all(torch.isfinite(tensor).all() for tensor in weights(model).values())
