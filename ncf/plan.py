"""How a neural model is fitted, step by step: the parameters of `ncf/fitting/`.

They are declared apart from the code that uses them, because the server knows every model but loads no fitting code.
"""

from __future__ import annotations

from dataclasses import dataclass

from ncf.parameters import Parameters, integer, number, one_of, parameter

LOSSES = ("bce", "block_bce", "block_softmax")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class Plan(Parameters):
    """The defaults are the best values on validation (see `ncf/hyperparameters.py`)."""

    epochs: int = parameter(
        "Times that each interaction is learned from, with negatives drawn anew, 1 to 1000. Without patience the last "
        "is the model: the learning rate has come down to zero by then. On validation 12 and 20 "
        "differ by less than noise.",
        integer(1, 1000),
        15,
    )
    batch_size: int = parameter(
        "Samples (positives and negatives) of one step, 1 to 1048576. A dataset gets smaller batches where an epoch "
        "would have fewer than 50 steps. The default suits the block losses; for bce 2048 is a good size.",
        integer(1, 1 << 20),
        1 << 18,
    )
    learning_rate: float = parameter(
        "Rate of Adam's first step, above 0; it falls linearly to zero.",
        number("a number above 0", lambda value: value > 0),
        0.005,
    )
    negatives_per_positive: int = parameter(
        "Items without interaction for each interaction, 1 to 100: how many bce draws, and how much those that a block "
        "shares weigh in block_bce. He et al. 2017, figure 7, found 3 to 6 best from a random start; from als, 1 and 2 "
        "were better than 4 on validation.",
        integer(1, 100),
        2,
    )
    l2: float = parameter(
        "Weight of the L2 penalty on the embeddings (Adam's weight decay), 0 to 1. Neither 1e-6 nor 1e-5 helped on "
        "validation.",
        number("a number from 0 to 1", lambda value: 0 <= value <= 1),
        0.0,
    )
    dropout: float = parameter(
        "Share of each MLP layer's inputs set to zero while training, from 0 to below 1. None in He et al.",
        number("a number from 0 to below 1", lambda value: 0 <= value < 1),
        0.0,
    )
    loss: str = parameter(
        "bce (He et al. 2017, equation 7: negatives of its own for each interaction), block_bce or block_softmax "
        "(blocks of users that share their negatives; see ncf/fitting/losses.py).",
        one_of(*LOSSES),
        "block_bce",
    )
    shared_negatives: int = parameter(
        "Negatives that a block of users shares, 1 to 1048576; the whole catalogue where that is smaller. For the "
        "block losses alone.",
        integer(1, 1 << 20),
        1024,
    )
    start_scale: float = parameter(
        "What the start's scores are multiplied by to be logits, above 0 to 100.",
        number("a number above 0 to 100", lambda value: 0 < value <= 100),
        4.0,
    )
    start_rate: float = parameter(
        "Share of learning_rate at which started embeddings learn, 0 to 1; 0 keeps them as they are. Between 0.2 and "
        "0.4 on validation: at 1 they forget their start, at 0.1 they learn too little.",
        number("a number from 0 to 1", lambda value: 0 <= value <= 1),
        0.3,
    )
    patience: int = parameter(
        "Epochs without a better NDCG on validation (each user's last interaction in train, then not learned from) "
        "after which training ends; the model is the best epoch's. 0: no validation, and the last epoch is the model.",
        integer(0, 1000),
        0,
    )
    precision: str = parameter(
        "Of the products in gmf, mlp and neumf while they learn: float32, bfloat16 or float16 (the half that a T4 "
        "knows). Weights and figures are float32 in any case. A CPU gains nothing by less than the default.",
        one_of(*PRECISIONS),
        "float32",
    )
