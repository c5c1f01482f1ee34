"""RecBole's NeuMF: its model, data loader, negative sampler and the trainer's loop over batches, as its users run them.

RecBole's `train_batch_size` counts negatives too, and a positive stays together with its negatives. So a batch has as
many whole groups as fit in --batch: for 2,048 these are 409 positives and 1,636 negatives, and 2,045 samples are
reported. An item without interactions does not exist for RecBole.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import recbole
import torch
from measurement import LEARNING_RATE, SEED, Pairs, Part, batches_of_positives, measure, parse_arguments
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.general_recommender import NeuMF
from recbole.trainer import Trainer
from recbole.utils import init_seed


def write_interactions(pairs: Pairs, folder: Path) -> None:
    """Write `pairs` in RecBole's format, "atomic files": it reads <data_path>/<dataset>/<dataset>.inter."""
    folder.mkdir()
    table = np.column_stack([pairs.user, pairs.item])
    np.savetxt(folder / f"{folder.name}.inter", table, "%d", "\t", header="user_id:token\titem_id:token", comments="")


def endless(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from batches


def train(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    config = Config(
        model="NeuMF",
        dataset="pairs",
        config_dict={
            "gpu_id": "",
            "seed": SEED,
            "data_path": ".",
            "load_col": {"inter": ["user_id", "item_id"]},
            "eval_args": {"split": {"RS": [1, 0, 0]}, "group_by": "none", "order": "RO", "mode": "full"},
            "train_batch_size": arguments.batch,
            "train_neg_sample_args": {"distribution": "uniform", "sample_num": arguments.negatives},
            "learning_rate": LEARNING_RATE,
            "mf_embedding_size": arguments.factors,
            "mlp_embedding_size": arguments.layers[0] // 2,
            "mlp_hidden_size": list(arguments.layers[1:]),
            "dropout_prob": 0.0,
        },
    )
    init_seed(config["seed"], config["reproducibility"])
    write_interactions(arguments.data, Path("pairs"))
    train_data, _, _ = data_preparation(config, create_dataset(config))
    model = NeuMF(config, train_data.dataset).to(config["device"])
    trainer = Trainer(config, model)
    batches = endless(train_data)
    steps = (1 + arguments.negatives) * batches_of_positives(arguments.batch)

    def train_part() -> Part:
        samples = 0

        def loss_of(interaction: Any) -> Any:
            nonlocal samples
            samples += len(interaction)
            return model.calculate_loss(interaction)

        loss = trainer._train_epoch(islice(batches, steps), epoch_idx=0, loss_func=loss_of)
        return Part(samples, loss / steps)

    measure(train_part, arguments.seconds, peer="recbole", version=recbole.__version__, batch=arguments.batch)


if __name__ == "__main__":
    arguments = parse_arguments(__doc__)
    del sys.argv[1:]  # RecBole reads sys.argv too.
    # RecBole's trainer writes logs to the working directory.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        train(arguments)
