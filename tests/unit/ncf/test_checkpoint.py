"""Checkpoints by themselves, without a training: which file is used, and which is replaced next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from ncf.fitting.checkpoint import NAMES, Checkpoint, Checkpoints
from ncf.fitting.distributed import Processes

CPU = torch.device("cpu")
FIRST, SECOND = NAMES


class Pair(Processes):
    """One of two processes; `first` is what the first one broadcasts, call by call, and `fails` what the other says."""

    def __init__(self, rank: int, first: list[Any], fails: bool = False) -> None:
        super().__init__(rank, 2)
        object.__setattr__(self, "first", iter(first))
        object.__setattr__(self, "fails", fails)

    def from_first(self, here: Any) -> Any:
        return here if self.is_first else next(self.first)  # type: ignore[attr-defined]

    def any(self, here: bool, device: torch.device) -> bool:
        return here or self.fails  # type: ignore[attr-defined,no-any-return]


def write(folder: Path, *epochs: int, fingerprint: str = "f") -> Checkpoints:
    checkpoints = Checkpoints(folder, pytest.fail)
    for epoch in epochs:
        position = {"fingerprint": fingerprint, "epoch": epoch, "step": 0}
        checkpoints.write(position, {"weights": torch.full((64,), float(epoch))})
    return checkpoints


def latest(folder: Path, processes: Processes | None = None, fingerprint: str = "f") -> tuple[Any, list[str]]:
    """Return the epoch of the checkpoint that is used, or None, and the warnings."""
    said: list[str] = []
    found = Checkpoints(folder, said.append).latest(fingerprint, processes or Processes(), CPU)
    return None if found is None else found.position["epoch"], said


def as_read(folder: Path) -> Checkpoint:
    found = Checkpoints(folder, pytest.fail).latest("f", Processes(), CPU)
    assert found is not None
    return found


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def test_the_content_comes_back_with_its_digest(tmp_path: Path) -> None:
    write(tmp_path / "made" / "for it", 1)
    found = as_read(tmp_path / "made" / "for it")
    assert found.position == {"fingerprint": "f", "epoch": 1, "step": 0}
    assert torch.equal(found.tensors["weights"], torch.ones(64))
    assert found.sha256 == metadata(tmp_path / "made" / "for it" / FIRST)["sha256"]


def test_the_two_files_are_written_in_turn_and_the_furthest_is_used(tmp_path: Path) -> None:
    checkpoints = write(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == [FIRST]
    checkpoints.write({"fingerprint": "f", "epoch": 2, "step": 0}, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    assert latest(tmp_path) == (2, [])
    checkpoints.write({"fingerprint": "f", "epoch": 2, "step": 5}, {})
    assert json.loads(metadata(tmp_path / FIRST)["position"])["step"] == 5
    assert as_read(tmp_path).position["step"] == 5


@pytest.mark.fault("T06")
def test_a_file_with_its_second_half_zeroed_is_left_for_the_one_before(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    content = (tmp_path / SECOND).read_bytes()
    (tmp_path / SECOND).write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    epoch, said = latest(tmp_path)
    assert epoch == 1
    assert said[0].startswith(f"warning: {SECOND} cannot be used: its content has another sha256 than it was written")
    assert said[1:] == [f"warning: training resumes from {FIRST}, in epoch 2"]


@pytest.mark.fault("T06")
def test_the_digest_of_another_checkpoint_is_not_its_own(tmp_path: Path) -> None:
    """The two checkpoints differ in their weights alone; the later one bears the other's digest."""
    write(tmp_path / "one", 1)
    position, sha256 = (metadata(tmp_path / "one" / FIRST)[name] for name in ("position", "sha256"))
    tensors = {"weights": torch.full((64,), 9.0)}
    (tmp_path / FIRST).write_bytes(safetensors.torch.save(tensors, {"position": position, "sha256": sha256}))
    assert latest(tmp_path) == (
        None,
        [
            f"warning: {FIRST} cannot be used: its content has another sha256 than it was written with, {sha256}",
            "warning: no checkpoint can be used, so training starts from the beginning",
        ],
    )


@pytest.mark.parametrize(
    ("tensors", "of"),
    [
        ({"other": torch.ones(64)}, "name"),
        ({"weights": torch.ones(64).to(torch.int32)}, "type"),
        ({"weights": torch.ones(64).reshape(8, 8)}, "shape"),
        ({"weights": torch.ones(64), "more": torch.ones(1)}, "number of tensors"),
    ],
)
def test_the_digest_covers_every_trait_of_a_tensor(tmp_path: Path, tensors: dict[str, Any], of: str) -> None:
    write(tmp_path, 1)
    (tmp_path / FIRST).write_bytes(safetensors.torch.save(tensors, metadata(tmp_path / FIRST)))
    assert latest(tmp_path)[0] is None, of


@pytest.mark.fault("T06")
def test_a_checkpoint_of_another_configuration_is_not_used(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, fingerprint="of other hyperparameters")
    assert latest(tmp_path) == (
        None,
        ["warning: the checkpoint has other data or hyperparameters, so training starts from the beginning"],
    )


def test_an_older_checkpoint_of_this_configuration_is_used_before_a_later_one_of_another(tmp_path: Path) -> None:
    write(tmp_path, 1)
    checkpoints = Checkpoints(tmp_path, pytest.fail)
    assert checkpoints.latest("f", Processes(), CPU) is not None
    checkpoints.write({"fingerprint": "g", "epoch": 7, "step": 0}, {})
    assert latest(tmp_path) == (1, [])


def test_an_empty_folder_is_no_reason_for_a_warning(tmp_path: Path) -> None:
    assert latest(tmp_path) == (None, [])


POSITIONS = {
    '{"fingerprint": "f", "epoch": 1e400, "step": 0}': "position: epoch must be a number within the range of a double",
    '{"fingerprint": "f", "epoch": 1, "epoch": 2, "step": 0}': "position has the key 'epoch' twice",
    '{"fingerprint": "f", "epoch": NaN, "step": 0}': "position is not JSON: NaN is not a JSON value",
    "[" * 100_000: "position is nested too deeply",
    "[1]": "position must be a JSON object",
    '{"fingerprint": "f", "step": 0}': "'epoch'",
    '{"fingerprint": "f", "epoch": null, "step": 0}': "int()",
}


@pytest.mark.parametrize("position", POSITIONS, ids=lambda position: position[:60])
def test_a_position_that_is_no_strict_json_is_left_for_the_one_before(tmp_path: Path, position: str) -> None:
    write(tmp_path, 1)
    (tmp_path / SECOND).write_bytes(safetensors.torch.save({}, {"position": position}))
    epoch, said = latest(tmp_path)
    assert epoch == 1
    assert said[0].startswith(f"warning: {SECOND} cannot be used: it cannot be read: {POSITIONS[position]}"), said


@pytest.mark.parametrize("found", [None, {"of": "another program"}])
def test_a_file_of_another_program_is_left_for_the_one_before(tmp_path: Path, found: dict[str, str] | None) -> None:
    write(tmp_path, 1)
    (tmp_path / SECOND).write_bytes(safetensors.torch.save({"weights": torch.ones(1)}, found))
    assert latest(tmp_path) == (
        1,
        [
            f"warning: {SECOND} cannot be used: it cannot be read: its header has no position",
            f"warning: training resumes from {FIRST}, in epoch 2",
        ],
    )


@pytest.mark.parametrize("damaged", NAMES)
def test_the_file_that_was_not_resumed_from_is_replaced_next(tmp_path: Path, damaged: str) -> None:
    write(tmp_path, 1, 2)
    (tmp_path / damaged).write_bytes(b"")
    whole = (tmp_path / NAMES[1 - NAMES.index(damaged)]).read_bytes()
    checkpoints = Checkpoints(tmp_path, lambda warning: None)
    assert checkpoints.latest("f", Processes(), CPU) is not None
    checkpoints.write({"fingerprint": "f", "epoch": 3, "step": 0}, {})
    assert (tmp_path / NAMES[1 - NAMES.index(damaged)]).read_bytes() == whole
    assert latest(tmp_path) == (3, [])


def test_a_checkpoint_that_another_process_cannot_use_is_left_for_the_one_before(tmp_path: Path) -> None:
    write(tmp_path, 1)
    epoch, said = latest(tmp_path, Pair(0, [], fails=True))
    assert epoch is None
    assert said == [
        f"warning: {FIRST} cannot be used: another process cannot use it",
        "warning: no checkpoint can be used, so training starts from the beginning",
    ]


def test_another_process_follows_the_first_and_says_only_what_it_cannot_read_itself(tmp_path: Path) -> None:
    write(tmp_path, 1)
    sha256 = metadata(tmp_path / FIRST)["sha256"]
    assert latest(tmp_path, Pair(1, [[FIRST], sha256])) == (1, [])
    assert latest(tmp_path, Pair(1, [[SECOND, FIRST], sha256, sha256])) == (
        1,
        [f"warning: {SECOND} cannot be used: it cannot be read: {_missing(tmp_path / SECOND)}"],
    )
    assert latest(tmp_path, Pair(1, [[FIRST], "of another file"])) == (
        None,
        [f"warning: {FIRST} cannot be used: the first process cannot read it, or has another file of this name"],
    )
    assert latest(tmp_path, Pair(1, [[]])) == (None, [])


def _missing(path: Path) -> str:
    with pytest.raises(OSError) as error, safe_open(path, framework="pt"):
        pass
    return str(error.value)
