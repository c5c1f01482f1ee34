"""Neural collaborative filtering as a library: fit a model, write it to a bundle, and rank items with it.

Load a bundle and get recommendations (`bundle_folder` is an unpacked model.tar.gz):

>>> import ncf
>>> bundle = ncf.load(bundle_folder)
>>> ncf.recommend(bundle, "u003", 3)
['i054', 'i015', 'i049']

Fit a model on a dataset (`emr/preprocess.py` writes `dataset_folder`):

>>> dataset = ncf.read_dataset(dataset_folder)
>>> model = ncf.fit("neumf", dataset, epochs=5, factors=8)
>>> model.catalogue(torch.tensor([0])).shape  # the scores of every item for the first user
torch.Size([1, 60])

The library does not depend on a cloud, a server or a training job. Start with `interface.py`, which defines a model.
Each file in `models/` is one kind of model with its parameters; `registry.py` finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ncf.bundle import Bundle, load
from ncf.dataset import Dataset
from ncf.interface import Context, Model
from ncf.ranking import rank
from ncf.registry import kind_named

__all__ = ["Bundle", "Dataset", "Model", "fit", "load", "read_dataset", "recommend"]


def recommend(bundle: Bundle, user_id: str, number: int = 10, history: Sequence[str] = ()) -> list[str]:
    """Return the ids of the best `number` items that the user has not interacted with, best first.

    `history` are the ids of the items that the user chose since the training, or in this session, oldest first. Ids
    that the bundle does not know are ignored. A user without interactions and history gets the most popular items.
    """
    request = {"userId": user_id, "numResults": number, "history": [{"itemId": item} for item in history]}
    return [item["itemId"] for item in rank(bundle, request)["itemList"]]


def read_dataset(folder: Path | str) -> Dataset:
    """Read the dataset version in `folder` and check it against its manifest. Raises BrokenDataset."""
    from ncf import dataset_files  # pyarrow, which a server does not need

    return dataset_files.load(Path(folder))


def fit(model: str, dataset: Dataset, **parameters: Any) -> Model:
    """Fit a model of the kind named `model` on the CPU. Omitted parameters have their defaults.

    Raises ValueError for an unknown model and for a parameter that is unknown or out of range, CannotFit and Diverged.
    """
    kind = kind_named(model)
    return kind.fit(dataset, kind.parameters.of(**parameters), Context())
