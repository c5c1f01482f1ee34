"""The checkpoints of a training: two files in a folder, written in turn, each with the sha256 of its content.

So when the newest is damaged, the one before it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from contracts import documents
from ncf.fitting.distributed import Processes

NAMES = ("checkpoint.safetensors", "checkpoint-2.safetensors")
UNREADABLE = (SafetensorError, OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose sha256 is right. `position` has at least `fingerprint`, `epoch` and `step`."""

    sha256: str
    position: dict[str, Any]
    tensors: dict[str, Tensor]


class Checkpoints:
    """The checkpoints in `folder`, which is created."""

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._warn = folder, warn
        self._latest = NAMES[-1]
        self._is_refused = False
        """True if a file was refused."""

    def write(self, position: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Replace the older checkpoint by one with this state. After a crash, one of both is there whole."""
        path = self._folder / NAMES[1 - NAMES.index(self._latest)]
        text = json.dumps(position)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        content = safetensors.torch.save(tensors, {"position": text, "sha256": _sha256(text, tensors)})
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        self._latest = path.name

    def latest(self, fingerprint: str, processes: Processes, device: torch.device) -> Checkpoint | None:
        """Return the furthest checkpoint with this fingerprint that every process can use. Collective.

        Each one that cannot be used is named in a warning. Returns None if none is left; a warning says so, unless the
        folder has no checkpoint.
        """
        for name in processes.from_first(self._names(fingerprint) if processes.is_first else []):
            checkpoint, reason = self._read(name)
            sha256 = processes.from_first(checkpoint.sha256 if checkpoint else None)
            if checkpoint and checkpoint.sha256 != sha256:
                reason = "the first process cannot read it, or has another file of this name"
            if processes.any(bool(reason), device):
                self._refuse(name, reason or "another process cannot use it")
                continue
            assert checkpoint is not None, "no reason"
            self._latest = name
            if processes.is_first and self._is_refused:
                epoch = checkpoint.position["epoch"] + 1
                self._warn(f"warning: training resumes from {name}, in epoch {epoch}")
            return checkpoint
        if processes.is_first and self._is_refused:
            self._warn("warning: no checkpoint can be used, so training starts from the beginning")
        elif processes.is_first and any((self._folder / name).exists() for name in NAMES):
            self._warn(
                "warning: the checkpoint has other data or hyperparameters, so training starts from the beginning"
            )
        return None

    def _names(self, fingerprint: str) -> list[str]:
        """Return the names of the files with this fingerprint, the furthest training first."""
        reached: dict[str, tuple[int, int]] = {}
        for name in NAMES:
            if not (self._folder / name).exists():
                continue
            try:
                with safe_open(self._folder / name, framework="pt") as file:
                    position = _position(_metadata(file)["position"])
                if position["fingerprint"] == fingerprint:
                    reached[name] = (int(position["epoch"]), int(position["step"]))
            except UNREADABLE as error:
                self._refuse(name, f"it cannot be read: {error}")
        return sorted(reached, key=lambda name: reached[name], reverse=True)

    def _read(self, name: str) -> tuple[Checkpoint | None, str | None]:
        """Return the checkpoint, or the reason why it cannot be used."""
        try:
            with safe_open(self._folder / name, framework="pt") as file:
                metadata = _metadata(file)
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            text, recorded = metadata["position"], metadata.get("sha256")
            if recorded != _sha256(text, tensors):
                return None, f"its content has another sha256 than it was written with, {recorded}"
            return Checkpoint(recorded, _position(text), tensors), None
        except UNREADABLE as error:
            return None, f"it cannot be read: {error}"

    def _refuse(self, name: str, reason: str) -> None:
        self._is_refused = True
        self._warn(f"warning: {name} cannot be used: {reason}")


def _metadata(file: Any) -> dict[str, str]:
    """Return the metadata of an open file. Raises ValueError if they have no position."""
    found = file.metadata() or {}
    if "position" not in found:
        raise ValueError("its header has no position")
    return dict(found)


def _position(text: str) -> dict[str, Any]:
    """Parse the position of a checkpoint. Raises Unfit, a ValueError."""
    return documents.read_object(text, "position")


def _sha256(position: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of the position and of the name, type, shape and bytes of each tensor on the CPU."""
    found = hashlib.sha256(position.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
