import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from contracts.lines import Epoch
from ncf import dataset_files
from ncf.dataset import Dataset
from ncf.fitting.checkpoint import NAMES
from ncf.fitting.loop import fit
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


@pytest.fixture(scope="module")
def board(
    tmp_path_factory: pytest.TempPathFactory, write: Callable[..., Path], checkerboard_pairs: list[tuple[str, str]]
) -> Dataset:
    return dataset_files.load(write(tmp_path_factory.mktemp("board"), checkerboard_pairs), VERSION)


@pytest.fixture(scope="module")
def whole(board: Dataset) -> Recommender:
    """The result of PLAN without a stop."""
    return fit(board, ARCHITECTURE, PLAN, HERE)


def weights(model: Recommender) -> dict[str, torch.Tensor]:
    return model.state_dict()


def equal(left: Recommender, right: Recommender) -> bool:
    return all(torch.equal(weights(left)[name], weights(right)[name]) for name in weights(left))


def test_the_same_seed_gives_the_same_weights_and_another_does_not(board: Dataset, whole: Recommender) -> None:
    assert equal(whole, fit(board, ARCHITECTURE, PLAN, HERE))
    assert not equal(whole, fit(board, ARCHITECTURE, replace(PLAN, seed=8), HERE))


def test_the_global_random_state_has_no_effect(board: Dataset, whole: Recommender) -> None:
    torch.manual_seed(torch.initial_seed() + 1)
    assert equal(whole, fit(board, ARCHITECTURE, PLAN, HERE))


def test_the_epoch_line_has_the_format_of_the_metric_definitions() -> None:
    line = str(Epoch(epoch=3, epochs=20, loss=0.23451, samples_per_second=812345.4, seconds=1.239))
    assert line == "epoch=3/20 train_loss=0.2345 samples_per_second=812345 seconds=1.24"


@pytest.mark.parametrize(("loss", "steps"), [("bce", 54), ("block_bce", 32), ("block_softmax", 32)])
@pytest.mark.parametrize("stop_at", [1, 32, 50, 75])
def test_a_training_stopped_at_any_step_and_resumed_ends_with_the_same_weights(
    loss: str, steps: int, stop_at: int, board: Dataset, tmp_path: Path
) -> None:
    plan = replace(PLAN, loss=loss, shared_negatives=12, batch_size=64 if loss == "bce" else 1, patience=9)
    start = (lambda: (torch.ones(board.users, 8), torch.ones(board.items, 8))) if loss != "bce" else None
    validate = (lambda model: model.output.bias.detach().clone()) if loss == "block_bce" else None
    extra: Any = {"fingerprint": "f", "start": start, "validate": validate}
    losses: list[Epoch] = []
    whole = fit(board, ARCHITECTURE, plan, Context(report=losses.append), **extra)
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
    # bce: at least 50 steps of 480 interactions are 54 of 9, with 4 negatives each. The
    # block losses have one user per step: 32 steps.
    assert [progress.loss for progress in epochs] == [progress.loss for progress in losses[stop_at // steps :]]


def test_a_finished_training_is_not_repeated(board: Dataset, tmp_path: Path) -> None:
    whole = fit(board, ARCHITECTURE, PLAN, Context(checkpoints=tmp_path), fingerprint="f")
    epochs: list[Epoch] = []
    again = fit(board, ARCHITECTURE, PLAN, Context(checkpoints=tmp_path, report=epochs.append), fingerprint="f")
    assert epochs == []
    assert equal(whole, again)


def test_a_checkpoint_with_another_fingerprint_is_ignored(board: Dataset, tmp_path: Path, whole: Recommender) -> None:
    fit(board, ARCHITECTURE, PLAN, Context(checkpoints=tmp_path), fingerprint="other data")
    warnings: list[str] = []
    model = fit(board, ARCHITECTURE, PLAN, Context(checkpoints=tmp_path, warn=warnings.append), fingerprint="f")
    assert warnings == [
        "warning: the checkpoint has other data or hyperparameters, so training starts from the beginning"
    ]
    assert equal(model, whole)


def zero_second_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def move_position(path: Path) -> None:
    """Change the number of the epoch in the header, without a change of length."""
    path.write_bytes(re.sub(rb'"epoch\\": .', b'"epoch\\": 7', path.read_bytes(), count=1))


def transpose(path: Path) -> None:
    """Change shapes in the header, without a change of length."""
    path.write_bytes(path.read_bytes().replace(b"[32,8]", b"[8,32]"))


DAMAGES: dict[Callable[[Path], None], str] = {
    zero_second_half: "its content has another sha256",
    move_position: "its content has another sha256",
    transpose: "its content has another sha256",
    cut: "it cannot be read",
    empty: "it cannot be read",
}


def resumed_from(board: Dataset, folder: Path, fingerprint: str = "f") -> tuple[Recommender, list[Epoch], list[str]]:
    epochs: list[Epoch] = []
    warnings: list[str] = []
    context = Context(checkpoints=folder, report=epochs.append, warn=warnings.append)
    return fit(board, ARCHITECTURE, PLAN, context, fingerprint=fingerprint), epochs, warnings


@pytest.fixture(scope="module")
def checkpoints(board: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    calls = iter(range(1_000))
    with pytest.raises(Stopped):
        context = Context(checkpoints=folder, stop=lambda: next(calls) >= 120)
        fit(board, ARCHITECTURE, PLAN, context, fingerprint="f")
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    return folder


@pytest.fixture
def stopped(checkpoints: Path, tmp_path: Path) -> Path:
    """A folder with two checkpoints of a training that was stopped in epoch 3 of 3; the latest has the first name."""
    return Path(shutil.copytree(checkpoints, tmp_path / "checkpoints"))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.fault("T06")
def test_a_damaged_checkpoint_is_left_for_the_one_before(
    damage: Callable[[Path], None], board: Dataset, stopped: Path, whole: Recommender
) -> None:
    damage(stopped / NAMES[0])
    model, epochs, warnings = resumed_from(board, stopped)
    assert equal(model, whole)
    assert [progress.epoch for progress in epochs] == [3]
    assert len(warnings) == 2
    assert warnings[0].startswith(f"warning: {NAMES[0]} cannot be used: {DAMAGES[damage]}")
    assert warnings[1] == f"warning: training resumes from {NAMES[1]}, in epoch 3"


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_a_whole_checkpoint_training_starts_from_the_beginning(
    damage: Callable[[Path], None], board: Dataset, stopped: Path, whole: Recommender
) -> None:
    for name in NAMES:
        damage(stopped / name)
    model, epochs, warnings = resumed_from(board, stopped)
    assert equal(model, whole)
    assert [progress.epoch for progress in epochs] == [1, 2, 3]
    assert {warning.partition(" cannot be used: ")[0] for warning in warnings[:2]} == {
        f"warning: {name}" for name in NAMES
    }
    assert warnings[2:] == ["warning: no checkpoint can be used, so training starts from the beginning"]


@pytest.mark.parametrize("damaged", [0, 1])
def test_a_damaged_checkpoint_is_the_next_to_be_replaced(damaged: int, board: Dataset, stopped: Path) -> None:
    whole = (stopped / NAMES[1 - damaged]).read_bytes()
    zero_second_half(stopped / NAMES[damaged])
    with pytest.raises(Stopped):
        context = Context(checkpoints=stopped, stop=lambda: True, warn=lambda message: None)
        fit(board, ARCHITECTURE, PLAN, context, fingerprint="f")
    assert (stopped / NAMES[1 - damaged]).read_bytes() == whole
    assert resumed_from(board, stopped)[2] == []


def test_a_checkpoint_without_a_digest_is_not_used(board: Dataset, tmp_path: Path, whole: Recommender) -> None:
    """Earlier versions wrote such ones."""
    position = json.dumps({"fingerprint": "f", "epoch": 2, "step": 0})
    (tmp_path / NAMES[0]).write_bytes(safetensors.torch.save({"loss_sum": torch.zeros(())}, {"position": position}))
    model, _, warnings = resumed_from(board, tmp_path)
    assert equal(model, whole)
    assert warnings == [
        f"warning: {NAMES[0]} cannot be used: its content has another sha256 than it was written with, None",
        "warning: no checkpoint can be used, so training starts from the beginning",
    ]


def test_the_checkpoint_of_these_parameters_is_used_though_another_went_further(
    board: Dataset, stopped: Path, whole: Recommender
) -> None:
    calls = iter(range(1_000))
    with pytest.raises(Stopped):
        context = Context(checkpoints=stopped, stop=lambda: next(calls) >= 20, warn=lambda message: None)
        fit(board, ARCHITECTURE, PLAN, context, fingerprint="g")
    with safe_open(stopped / NAMES[1], framework="pt") as file:
        assert json.loads(file.metadata()["position"])["fingerprint"] == "f"
    model, _, warnings = resumed_from(board, stopped, "g")
    assert equal(model, whole)
    assert warnings == []


def test_a_checkpoint_is_written_whole_or_not_at_all(
    board: Dataset, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [(stopped / name).read_bytes() for name in NAMES]

    def fail(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("ncf.fitting.checkpoint.os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        resumed_from(board, stopped)
    assert [(stopped / name).read_bytes() for name in NAMES] == before


@pytest.mark.parametrize("loss", ["bce", "block_bce", "block_softmax"])
def test_half_precision_has_nearly_the_same_loss_and_float32_weights(loss: str, board: Dataset) -> None:
    plan = replace(PLAN, loss=loss, shared_negatives=12, epochs=5, dropout=0.0)
    whole: list[Epoch] = []
    fit(board, ARCHITECTURE, plan, Context(report=whole.append))
    for precision in ("bfloat16", "float16"):
        half: list[Epoch] = []
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
    with safe_open(tmp_path / NAMES[1], framework="pt") as file:
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
