"""Writing a bundle. It is read back and checked before `write` returns."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from numpy.typing import NDArray

from ncf.bundle.format import (
    BOUGHT,
    CATEGORIES,
    FIELDS,
    GOLDEN,
    HELD_OUT,
    ITEMS,
    MANIFEST,
    MEMBERS,
    POPULARITY,
    SCHEMA_VERSION,
    SEEN,
    USERS,
    WEIGHTS,
    WITHDRAWN,
    digest,
    encode_json,
    measure,
)
from ncf.bundle.reading import Bundle, load, read_members
from ncf.dataset import Pairs
from ncf.interface import Model
from ncf.item_fields import ItemFields


def write(
    directory: Path,
    *,
    model: Model,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    seen_indptr: NDArray[np.int64],
    seen_indices: NDArray[np.int32],
    popularity: NDArray[np.int64],
    run_id: str,
    dataset_version: str,
    code_version: str,
    golden: Callable[[Bundle], list[dict[str, Any]]],
    held_out: Pairs | None = None,
    categories: Sequence[Sequence[str]] = (),
    event_types: Mapping[str, int] | None = None,
    fields: ItemFields | None = None,
    withdrawn: NDArray[np.int64] | None = None,
    described_items: int = 0,
    is_bought: NDArray[np.bool_] | None = None,
    learned_until: int | None = None,
) -> Bundle:
    """Write a bundle into `directory`, which is created if necessary, and return it as read back.

    `golden` receives the written bundle, read back without golden requests, and returns the golden requests. So they
    record the answers of the written weights. `held_out` are the seen pairs that the model was not trained on; without
    them a later comparison takes every seen pair for learned. `categories` has one entry per item, or is empty.
    `event_types` are the rows of the data by event type, `fields` what answers may show of each item, and `withdrawn`
    the sorted items that are not recommended; `described_items` is how many items without interactions have a vector
    from their attributes, and `is_bought` which of `seen_indices` are purchases. `learned_until`: epoch seconds, before
    which everything happened that the model learned. Raises BrokenBundle if the parts do not fit together.
    """
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state().items()}
    _put(directory / WEIGHTS, safetensors.torch.save(weights))
    _put(directory / USERS, encode_json(list(user_ids)))
    _put(directory / ITEMS, encode_json(list(item_ids)))
    seen: dict[str, NDArray[Any]] = {
        "indptr": np.ascontiguousarray(seen_indptr),
        "indices": np.ascontiguousarray(seen_indices),
    }
    _put(directory / SEEN, safetensors.numpy.save(seen))
    _put(directory / POPULARITY, safetensors.numpy.save({"interactions": np.ascontiguousarray(popularity)}))
    members: tuple[str, ...] = MEMBERS
    if held_out is not None:
        members += (HELD_OUT,)
        pairs = {"user": held_out.user.astype(np.int32), "item": held_out.item.astype(np.int32)}
        _put(directory / HELD_OUT, safetensors.numpy.save(pairs))
    if categories:
        members += (CATEGORIES,)
        names = sorted({name for item in categories for name in item})
        place = {name: position for position, name in enumerate(names)}
        _put(
            directory / CATEGORIES,
            encode_json({"names": names, "items": [sorted(place[name] for name in item) for item in categories]}),
        )
    if fields is not None and len(fields):
        members += (FIELDS,)
        _put(directory / FIELDS, safetensors.numpy.save({"offsets": fields.offsets, "data": fields.data}))
    if withdrawn is not None and withdrawn.size:
        members += (WITHDRAWN,)
        _put(directory / WITHDRAWN, safetensors.numpy.save({"item": withdrawn.astype(np.int32)}))
    if is_bought is not None and not is_bought.all():
        members += (BOUGHT,)
        _put(directory / BOUGHT, safetensors.numpy.save({"is_bought": np.ascontiguousarray(is_bought)}))
    manifest: dict[str, Any] = {
        "schemaVersion": SCHEMA_VERSION,
        "runId": run_id,
        "datasetVersion": dataset_version,
        "codeVersion": code_version,
        "torchVersion": torch.__version__,
        "architecture": model.describe(),
        "cardinalities": {"users": len(user_ids), "items": len(item_ids)},
    }
    if event_types:
        manifest["eventTypes"] = dict(event_types)
    if learned_until is not None:
        manifest["learnedUntil"] = learned_until
    if described_items:
        manifest["describedItems"] = described_items
    _put(directory / GOLDEN, encode_json(golden(read_members(directory, manifest, golden=[], device="cpu"))))
    manifest["members"] = {name: measure(directory / name) for name in members}
    manifest["digest"] = digest(manifest)
    _put(directory / MANIFEST, encode_json(manifest))
    return load(directory)


def _put(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
