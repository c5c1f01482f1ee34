"""A small bundle with random weights, written by the code that training uses."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch._lazy.ts_backend

from ncf import bundle as bundles
from ncf.dataset import Pairs
from ncf.interface import Model
from ncf.models.als import Als
from ncf.models.cooccurrence import Cooccurrence
from ncf.models.ease import Ease
from ncf.network import Architecture, Recommender
from ncf.ranking import rank
from ncf.recent import Recent, WithRecent

USERS, ITEMS = 7, 40
LEARNED_UNTIL = 1_600_000_000
CATEGORIES = {"Even": 2, "Third": 3, "Seventh": 7}
"""Every n-th item is in the category; many items are in none."""


def random_model(model: str, layers: tuple[int, ...], generator: torch.Generator, indptr: Any, indices: Any) -> Model:
    if model == "als":
        return Als(torch.randn(USERS, 8, generator=generator), torch.randn(ITEMS, 8, generator=generator))
    if model == "ease":
        item_item = torch.randn(ITEMS, ITEMS, generator=generator)
        return Ease(item_item, torch.as_tensor(indptr), torch.as_tensor(indices))
    if model == "cooccurrence":
        neighbours = torch.cat([torch.randperm(ITEMS, generator=generator)[:10] for _ in range(ITEMS)])
        state = {
            "neighbour_indptr": torch.arange(ITEMS + 1) * 10,
            "neighbours": neighbours.int(),
            "weights": torch.rand(neighbours.numel(), generator=generator),
            "prior": torch.rand(ITEMS, generator=generator) * 1e-3,
            "indptr": torch.as_tensor(indptr),
            "indices": torch.as_tensor(indices),
            "later": torch.randint(5, (len(indices),), generator=generator).to(torch.uint8),
        }
        return Cooccurrence(0.8, state)
    network = Recommender(Architecture(model.removeprefix("recent "), 8, layers), USERS, ITEMS).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0.0, 0.7, generator=generator)
    if not model.startswith("recent "):
        return network
    recent = Recent(
        gain=1.5,
        repeat_gain=0.75,
        neighbour_indptr=torch.arange(ITEMS + 1) * 10,
        neighbours=torch.cat([torch.randperm(ITEMS, generator=generator)[:10] for _ in range(ITEMS)]).int(),
        weights=torch.rand(10 * ITEMS, generator=generator),
        fading=torch.arange(1.0, 6.0) ** -1.25,
        repeats=torch.arange(1.0, 6.0) ** -1.0,
        again=torch.rand(ITEMS, generator=generator),
        prior=torch.randn(ITEMS, generator=generator),
        indptr=torch.as_tensor(indptr),
        indices=torch.as_tensor(indices),
        later=torch.randint(5, (len(indices),), generator=generator).to(torch.uint8),
        often=torch.randint(1, 4, (len(indices),), generator=generator).float(),
    )
    return WithRecent(network, recent)


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A directory with a bundle of `model`: logits spread over several units, users 0 to 5 with 5 seen items each."""

    def make(model: str = "neumf", layers: tuple[int, ...] = (16, 12, 6), seed: int = 5) -> Path:
        torch.set_num_threads(1)
        generator = torch.Generator().manual_seed(seed)
        rows = np.random.default_rng(seed)
        seen = [np.sort(rows.choice(ITEMS, 5, replace=False)) for _ in range(USERS - 1)] + [np.empty(0)]
        indices = np.concatenate(seen).astype(np.int32)
        indptr = np.cumsum([0] + [len(items_of_user) for items_of_user in seen]).astype(np.int64)
        popularity = np.bincount(indices, minlength=ITEMS).astype(np.int64)
        items = [f"item-{index}" for index in range(ITEMS)]

        def golden(bundle: bundles.Bundle) -> list[dict[str, Any]]:
            requests: list[dict[str, Any]] = [
                {"userId": "user-0", "numResults": 10, "excludeSeen": True},
                {"userId": "user-1", "candidates": [*items[:6], "item-none"], "excludeSeen": False},
                {"userId": "nobody", "numResults": 5},
            ]
            return [{"request": request, "response": rank(bundle, request)} for request in requests]

        directory = tmp_path_factory.mktemp(f"bundle-{model}")
        bundles.write(
            directory,
            model=random_model(model, layers, generator, indptr, indices),
            user_ids=[f"user-{index}" for index in range(USERS)],
            item_ids=items,
            seen_indptr=indptr,
            seen_indices=indices,
            popularity=popularity,
            run_id="v20261123t151300z-1a2b3c4d-r1",
            dataset_version="v20261123t151300z-1a2b3c4d",
            code_version="test",
            golden=golden,
            held_out=Pairs.of(np.array([0]), indices[:1], USERS, ITEMS),
            learned_until=LEARNED_UNTIL,
            categories=[[name for name, every in CATEGORIES.items() if index % every == 0] for index in range(ITEMS)],
        )
        return directory

    return make


@pytest.fixture(scope="session")
def bundle_directory(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle()


@pytest.fixture
def copy(bundle_directory: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, for tests that change it."""
    return Path(shutil.copytree(bundle_directory, tmp_path / "model"))


@pytest.fixture(params=["lazy", "cuda"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A device other than the CPU.

    The CPU computes torch's lazy tensors, but like CUDA tensors they are on a separate device: an operation with a
    tensor of another device fails, and numpy cannot read them until they are moved.
    """
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("this machine has no CUDA device")
        yield "cuda"
        return
    _lazy_backend()
    # The lazy backend supports neither inference mode nor split.
    monkeypatch.setattr(torch.inference_mode, "__enter__", lambda self: None)
    monkeypatch.setattr(torch.inference_mode, "__exit__", lambda self, *error: None)
    monkeypatch.setattr(torch.Tensor, "split", _split)
    monkeypatch.setattr(torch.Tensor, "chunk", lambda tensor, n, dim=0: _split(tensor, -(-tensor.shape[dim] // n), dim))
    with torch.no_grad():
        yield "lazy"


@cache
def _lazy_backend() -> None:
    """Start the backend once: a second start fails."""
    torch._lazy.ts_backend.init()


def _split(tensor: torch.Tensor, size: int | list[int], dim: int = 0) -> tuple[torch.Tensor, ...]:
    length = tensor.shape[dim]
    if isinstance(size, int):
        size = [min(size, length - begin) for begin in range(0, length, size)]
    ends = np.cumsum(size).tolist()
    return tuple(tensor.narrow(dim, end - part, part) for end, part in zip(ends, size, strict=True))
