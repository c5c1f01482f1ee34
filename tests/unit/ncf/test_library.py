"""The public functions of the package, and the example in its docstring."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
import torch

import ncf
from ncf import bundle as bundles
from ncf.golden import golden


@pytest.fixture
def bundle_folder(shop_dataset: Path, tmp_path: Path) -> Path:
    dataset = ncf.read_dataset(shop_dataset)
    seen = dataset.everything()
    bundles.write(
        tmp_path / "model",
        model=ncf.fit("ease", dataset),
        user_ids=dataset.user_ids,
        item_ids=dataset.item_ids,
        seen_indptr=seen.indptr,
        seen_indices=seen.item.astype("int32"),
        popularity=dataset.popularity,
        run_id=f"{dataset.version}-r1",
        dataset_version=dataset.version,
        code_version="test",
        golden=golden,
    )
    return tmp_path / "model"


@pytest.mark.slow
def test_the_example_in_the_docstring_runs(bundle_folder: Path, shop_dataset: Path) -> None:
    names = {"bundle_folder": bundle_folder, "dataset_folder": shop_dataset, "torch": torch}
    result = doctest.testmod(ncf, extraglobs=names)
    assert result.attempted == 6
    assert result.failed == 0


@pytest.mark.parametrize(
    ("model", "parameters", "message"),
    [
        ("svd", {}, "model must be one of als, cooccurrence, ease, "),
        ("als", {"epochs": 3}, "epochs is not known; known are seed, factors, als_unobserved_weight"),
        ("neumf", {"epochs": 0}, "epochs must be an integer from 1 to 1000, not '0'"),
        ("neumf", {"mlp_layers": (7,)}, "mlp_layers must begin with an even number"),
    ],
)
def test_a_wrong_parameter_is_named(
    model: str, parameters: dict[str, object], message: str, shop_dataset: Path
) -> None:
    with pytest.raises(ValueError) as wrong:
        ncf.fit(model, ncf.read_dataset(shop_dataset), **parameters)
    assert str(wrong.value).startswith(message)
