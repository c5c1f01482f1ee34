"""Neural collaborative filtering as a library: what a model is, how it is fitted, and the bundle that is served.

Load a bundle and ask for recommendations (`bundle_folder` is an unpacked model.tar.gz):

>>> import ncf
>>> bundle = ncf.load(bundle_folder)
>>> ncf.recommend(bundle, "u003", 3)
['i054', 'i015', 'i049']

Fit a model on a dataset (`dataset_folder` is what `emr/preprocess.py` writes):

>>> dataset = ncf.read_dataset(dataset_folder)
>>> model = ncf.fit("neumf", dataset, epochs=5, factors=8)
>>> model.catalogue(torch.tensor([0])).shape  # the scores of every item for the first user
torch.Size([1, 60])

It knows no cloud, no server and no training job. `interface.py` says what a model is; each file in `models/` is one
kind of model with its parameters; `registry.py` finds them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ncf.bundle import Bundle, load
from ncf.dataset import Dataset
from ncf.interface import Context, Model
from ncf.ranking import rank
from ncf.registry import kind_named

__all__ = ["Bundle", "Dataset", "Model", "fit", "load", "read_dataset", "recommend"]


def recommend(bundle: Bundle, user_id: str, number: int = 10) -> list[str]:
    """The ids of the best `number` items that the user has not interacted with, best first; for a user without
    interactions, the popular items.
    """
    return [item["itemId"] for item in rank(bundle, {"userId": user_id, "numResults": number})["itemList"]]


def read_dataset(folder: Path | str) -> Dataset:
    """The dataset version in `folder`, checked against its manifest. Raises BrokenDataset."""
    from ncf import dataset_files  # pyarrow, which a server does not need

    return dataset_files.load(Path(folder))


def fit(model: str, dataset: Dataset, **parameters: Any) -> Model:
    """A model of the kind named `model`, fitted on the CPU; parameters that are left out have their defaults.

    Raises ValueError for an unknown model and for a parameter that is unknown or out of range, CannotFit and Diverged.
    """
    kind = kind_named(model)
    return kind.fit(dataset, kind.parameters.of(**parameters), Context())
