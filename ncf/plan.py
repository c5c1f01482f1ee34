"""The parameters of the training loop of neural models (`ncf/fitting/`).

They are declared apart from that code, because the server loads every model but no code for fitting.
"""

from __future__ import annotations

from dataclasses import dataclass

from ncf.parameters import Among, Between, Parameters, integer, number, one_of, parameter

LOSSES = ("bce", "block_bce", "block_softmax")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class Plan(Parameters):
    """The parameters of the training loop. Their defaults are the best values on validation, a part of MovieLens-1M's
    train set (see `training/hyperparameters.py`).
    """

    epochs: int = parameter(
        "Passes over all interactions, 1 to 1000; each draws new negatives. Without patience, the model is that of the "
        "last epoch, when the learning rate has fallen to zero. On validation, 12 and 20 differ by less than noise.",
        integer(1, 1000),
        15,
        search=Between(5, 30, log=True),
    )
    batch_size: int = parameter(
        "Samples (positives and negatives) in one step, 1 to 1048576. The batch is made smaller if an epoch would have "
        "fewer than 50 steps. The default suits the block losses; for bce, 2048 is a good size.",
        integer(1, 1 << 20),
        1 << 18,
    )
    learning_rate: float = parameter(
        "Learning rate of Adam at the first step, above 0; it falls linearly to zero.",
        number("a number above 0", lambda value: value > 0),
        0.005,
        search=Between(0.001, 0.02, log=True),
    )
    negatives_per_positive: int = parameter(
        "Negatives (items without interaction) per interaction, 1 to 100. bce draws this many; block_bce gives its "
        "shared negatives this weight. block_softmax does not use it. He et al. 2017, figure 7, found 3 to 6 best with "
        "a random start; with the start als, 1 and 2 were better than 4 on validation.",
        integer(1, 100),
        2,
        search=Among(1, 2, 4),
    )
    l2: float = parameter(
        "Weight of the L2 penalty on the embeddings (Adam's weight decay), 0 to 1. Neither 1e-6 nor 1e-5 helped on "
        "validation.",
        number("a number from 0 to 1", lambda value: 0 <= value <= 1),
        0.0,
    )
    dropout: float = parameter(
        "Share of each MLP layer's inputs set to zero during training, from 0 to below 1. He et al. use no dropout.",
        number("a number from 0 to below 1", lambda value: 0 <= value < 1),
        0.0,
    )
    loss: str = parameter(
        "Loss function: bce (He et al. 2017, equation 7; each interaction has its own negatives), block_bce or "
        "block_softmax (a block of users shares its negatives; see ncf/fitting/losses.py).",
        one_of(*LOSSES),
        "block_bce",
    )
    shared_negatives: int = parameter(
        "Negatives that a block of users shares, 1 to 1048576; the whole catalogue if it is smaller. Only for the "
        "block losses.",
        integer(1, 1 << 20),
        1024,
    )
    start_scale: float = parameter(
        "Factor that converts the scores of the start (als or ease) to logits, above 0 and at most 100.",
        number("a number above 0 and at most 100", lambda value: 0 < value <= 100),
        4.0,
    )
    start_rate: float = parameter(
        "Learning rate of embeddings that start from als or ease, as a share of learning_rate, 0 to 1; 0 keeps them "
        "fixed. 0.2 to 0.4 were best on validation: with 1 the start is lost, with 0.1 they learn too little.",
        number("a number from 0 to 1", lambda value: 0 <= value <= 1),
        0.3,
        search=Between(0.05, 1.0, log=True),
    )
    patience: int = parameter(
        "Early stopping: training ends after this many epochs without a better NDCG on validation, 0 to 1000, and the "
        "model is that of the best epoch. Validation uses each user's last interaction in train, which is then not "
        "learned from. 0: the model is that of the last epoch; where users have fewer interactions than factors, 2,000 "
        "of them are validated on, and training ends once an epoch is clearly worse than an earlier one, which is the "
        "model.",
        integer(0, 1000),
        0,
    )
    precision: str = parameter(
        "Precision of matrix products while gmf, mlp and neumf are trained: float32, bfloat16 or float16 (the half "
        "precision of a T4). Weights and figures are always float32. On a CPU, half precision is not faster.",
        one_of(*PRECISIONS),
        "float32",
    )
