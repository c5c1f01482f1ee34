"""The catalogue of a dataset, from its files to the bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy
import torch

from ncf import bundle as bundles
from ncf import dataset_files
from ncf.bundle import BrokenBundle, format
from ncf.dataset import BrokenDataset
from ncf.golden import golden
from ncf.item_fields import ItemFields
from ncf.models.popularity import Popularity
from tests.unit.ncf.datasets import rewrite_items

ROWS = [("u", "a"), ("v", "b"), ("u", "b"), ("v", "c"), ("w", "c"), ("u", "c"), ("v", "a")]
COLUMNS = {
    "title": ["Ant", None, "Café"],
    "price": [1.5, None, 3.0],
    "in_stock": [True, False, None],
    "made": pa.array([0, None, 1_704_189_600], pa.int64()),
    "size": pa.array([None] * 3, pa.string()),
}
KINDS = {"price": "number", "in_stock": "boolean", "made": "time", "size": "text"}


@pytest.fixture
def dataset(tmp_path: Path, write: Callable[..., Path]) -> Path:
    path = write(tmp_path / "dataset", ROWS)
    rewrite_items(path, COLUMNS | {"is_withdrawn": [False, True, False]}, KINDS)
    return path


def test_reads_typed_columns_and_withdrawn_items(dataset: Path) -> None:
    read = dataset_files.load(dataset)
    assert read.withdrawn.tolist() == [1]
    assert [read.fields.of(item) for item in range(3)] == [
        {"title": "Ant", "price": 1.5, "in_stock": True, "made": "1970-01-01T00:00:00Z"},
        {"in_stock": False},
        {"title": "Café", "price": 3, "made": "2024-01-02T10:00:00Z"},
    ]


def test_an_older_dataset_has_neither(tmp_path: Path, write: Callable[..., Path]) -> None:
    read = dataset_files.load(write(tmp_path / "older", ROWS))
    assert (read.withdrawn.size, len(read.fields), read.fields.of(1)) == (0, 0, {})


def test_columns_that_are_not_as_the_manifest_says_are_refused(dataset: Path) -> None:
    rewrite_items(dataset, {"price": ["1", "2", "3"]}, KINDS)
    with pytest.raises(BrokenDataset, match="column 'price' is string, not double"):
        dataset_files.load(dataset)
    rewrite_items(dataset, {}, {"price": "money"})
    with pytest.raises(BrokenDataset, match="itemColumns must hold number, boolean, text, time"):
        dataset_files.load(dataset)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    bundles.write(
        tmp_path / "model",
        model=Popularity(torch.tensor([4.0, 3.0, 2.0, 1.0], dtype=torch.float64)),
        user_ids=["u", "v"],
        item_ids=["a", "b", "c", "d"],
        seen_indptr=np.array([0, 2, 3]),
        seen_indices=np.array([0, 1, 1], dtype=np.int32),
        popularity=np.array([4, 3, 2, 1]),
        run_id="v20260102t030405z-0a1b2c3d-r1",
        dataset_version="v20260102t030405z-0a1b2c3d",
        code_version="test",
        golden=golden,
        fields=ItemFields.pack([{"title": "A"}, {}, {"price": 2}, {}]),
        withdrawn=np.array([2]),
    )
    return tmp_path / "model"


def test_a_bundle_keeps_them_and_golden_lists_are_without_withdrawn_items(directory: Path) -> None:
    bundle = bundles.load(directory)
    assert bundle.withdrawn.tolist() == [2]
    assert [bundle.fields.of(item) for item in range(4)] == [{"title": "A"}, {}, {"price": 2}, {}]
    whole = [case["response"] for case in bundle.golden if "candidates" not in case["request"]]
    assert whole and all("c" not in [entry["itemId"] for entry in answer["itemList"]] for answer in whole)
    assert bundle.excluded(np.array([0, 2, 3], np.int32)).tolist() == [0, 2, 3]
    assert bundle.excluded(np.array([0, 3], np.int32)).tolist() == [0, 2, 3]
    assert bundle.excluded(np.empty(0, np.int32)).tolist() == [2]


@pytest.mark.parametrize(
    ("member", "arrays", "reason"),
    [
        (format.WITHDRAWN, {"item": np.array([1, 1], np.int32)}, "sorted and distinct"),
        (format.WITHDRAWN, {"item": np.array([4], np.int32)}, "from 0 to 3"),
        (format.WITHDRAWN, {"item": np.arange(4, dtype=np.int32)}, "has all 4 items"),
        (format.FIELDS, {"offsets": np.array([0, 2]), "data": np.frombuffer(b"{}", np.uint8)}, "among 4 items"),
        (
            format.FIELDS,
            {"offsets": np.array([0, 2, 4, 6, 8]), "data": np.frombuffer(b"{}[]{}{}", np.uint8)},
            "is not one JSON object",
        ),
        (
            format.FIELDS,
            {"offsets": np.array([0, 2, 5, 7, 9]), "data": np.frombuffer(b"{}{\xff}{}{}", np.uint8)},
            "is not UTF-8",
        ),
    ],
)
def test_broken_members_are_refused(member: str, arrays: Any, reason: str, directory: Path) -> None:
    (directory / member).write_bytes(safetensors.numpy.save(arrays))
    manifest = json.loads((directory / bundles.MANIFEST).read_text())
    manifest["members"][member] = format.measure(directory / member)
    manifest["digest"] = format.digest(manifest)
    (directory / bundles.MANIFEST).write_bytes(bundles.encode_json(manifest))
    with pytest.raises(BrokenBundle, match=reason):
        bundles.load(directory)
