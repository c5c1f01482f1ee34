"""The hyperparameters of a training: what each means, what it may be, and where its default comes from.

They arrive as strings (`--name value`). All of them are checked here, before any data is read.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ncf.interface import kinds
from ncf.losses import LOSSES
from ncf.model import MAXIMUM_WIDTH, MODELS, Architecture
from ncf.models.neural import STARTS
from ncf.precision import PRECISIONS

DATASET_VERSION = re.compile(r"v\d{8}t\d{6}z-[0-9a-f]{8}")
RUN_ID = re.compile(r"(v\d{8}t\d{6}z-[0-9a-f]{8})-r\d{1,4}")
CODE_VERSION = re.compile(r"[!-~]{1,128}")
DEVICES = ("auto", "cpu", "cuda")


class InvalidHyperparameter(Exception):
    """A hyperparameter is missing, unknown or out of range; the message names it and says what it must be."""


def _parameter(meaning: str, read: Callable[[str], Any], default: Any = dataclasses.MISSING) -> Any:
    return field(default=default, metadata={"meaning": meaning, "read": read})


def _matching(pattern: re.Pattern[str], description: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"must be {description}")
        return text

    return read


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


def _integer(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be an integer from {least} to {most}")
        return int(text)

    return read


def _number(description: str, allowed: Callable[[float], bool]) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and allowed(value)):
            raise ValueError(f"must be {description}")
        return value

    return read


def _widths(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*", text):
        raise ValueError("must be integers with commas between, such as 64,32,16")
    return tuple(int(width) for width in text.split(","))


@dataclass(frozen=True)
class Hyperparameters:
    """One training. "Validation" below is one interaction of each user cut from the *train* part of MovieLens-1M, in
    the split of He et al.: the last in the order of the file, and, apart, one at random. The defaults are what was best
    there; test figures were seen while exploring (docs/benchmarks.md).
    """

    run_id: str = _parameter(
        "Name of the retraining run: dataset version and attempt. Goes into every file that is written.",
        _matching(RUN_ID, "a dataset version and -r<attempt>, such as v20261123t151300z-1a2b3c4d-r1"),
    )
    dataset_version: str = _parameter(
        "Version of the dataset in the channel; its manifest must say the same.",
        _matching(DATASET_VERSION, "v<yyyymmdd>t<hhmmss>z-<8 hex>, such as v20261123t151300z-1a2b3c4d"),
    )
    code_version: str = _parameter(
        "Version of this code (the image's digest). 1 to 128 printable characters without spaces.",
        _matching(CODE_VERSION, "1 to 128 printable ASCII characters without spaces"),
    )
    model: str = _parameter(
        "popularity, als, ease, gmf, mlp or neumf; docs/benchmarks.md says what each is worth. ease is for catalogues "
        "of up to 20,000 items.",
        _one_of(*sorted(kinds())),
        "neumf",
    )
    factors: int = _parameter(
        "Width of the embeddings of gmf, neumf and als, 1 to 4096. He et al. tried 8 to 64.",
        _integer(1, 4096),
        64,
    )
    mlp_layers: tuple[int, ...] = _parameter(
        "Widths of the MLP, 1 to 16 of them, each 1 to 4096. The first is that of both embeddings together, so even. "
        "A tower that halves, as in He et al., section 3.3.",
        _widths,
        (16, 8),
    )
    epochs: int = _parameter(
        "Times that each interaction is learned from, with negatives drawn anew, 1 to 1000. Without patience the last "
        "is the model: the learning rate has come down to zero by then. On validation 12 and 20 "
        "differ by less than noise.",
        _integer(1, 1000),
        15,
    )
    batch_size: int = _parameter(
        "Samples (positives and negatives) of one step, 1 to 1048576. A dataset gets smaller batches where an epoch "
        "would have fewer than 50 steps. The default suits the block losses; for bce 2048 is a good size.",
        _integer(1, 1 << 20),
        1 << 18,
    )
    learning_rate: float = _parameter(
        "Rate of Adam's first step, above 0; it falls linearly to zero.",
        _number("a number above 0", lambda value: value > 0),
        0.005,
    )
    negatives_per_positive: int = _parameter(
        "Items without interaction for each interaction, 1 to 100: how many bce draws, and how much those that a block "
        "shares weigh in block_bce. He et al. 2017, figure 7, found 3 to 6 best from a random start; from als, 1 and 2 "
        "were better than 4 on validation.",
        _integer(1, 100),
        2,
    )
    l2: float = _parameter(
        "Weight of the L2 penalty on the embeddings (Adam's weight decay), 0 to 1. Neither 1e-6 nor 1e-5 helped on "
        "validation.",
        _number("a number from 0 to 1", lambda value: 0 <= value <= 1),
        0.0,
    )
    dropout: float = _parameter(
        "Share of each MLP layer's inputs set to zero while training, from 0 to below 1. None in He et al.",
        _number("a number from 0 to below 1", lambda value: 0 <= value < 1),
        0.0,
    )
    loss: str = _parameter(
        "bce (He et al. 2017, equation 7: negatives of its own for each interaction), block_bce or block_softmax "
        "(blocks of users that share their negatives; see ncf/losses.py).",
        _one_of(*LOSSES),
        "block_bce",
    )
    shared_negatives: int = _parameter(
        "Negatives that a block of users shares, 1 to 1048576; the whole catalogue where that is smaller. For the "
        "block losses alone.",
        _integer(1, 1 << 20),
        1024,
    )
    start: str = _parameter(
        "What the GMF half starts from: random (as in the paper), als, ease, or auto (ease up to 20,000 items, als "
        "beyond).",
        _one_of(*STARTS),
        "als",
    )
    start_scale: float = _parameter(
        "What the start's scores are multiplied by to be logits, above 0 to 100.",
        _number("a number above 0 to 100", lambda value: 0 < value <= 100),
        4.0,
    )
    start_rate: float = _parameter(
        "Share of learning_rate at which started embeddings learn, 0 to 1; 0 keeps them as they are. Between 0.2 and "
        "0.4 on validation: at 1 they forget their start, at 0.1 they learn too little.",
        _number("a number from 0 to 1", lambda value: 0 <= value <= 1),
        0.3,
    )
    fusion: float = _parameter(
        "Share of EASE in the logits of gmf and neumf, 0 to below 1 (α of He et al. 2017, section 3.4.1); without "
        "effect beyond 20,000 items. 0: what was trained, alone. 0.5 was best on validation among 0.3 to 0.8.",
        _number("a number from 0 to below 1", lambda value: 0 <= value < 1),
        0.5,
    )
    fusion_factors: int = _parameter(
        "Factors that the GMF half gets for it, 1 to 1024, besides those of `factors`. 256 was better than 128 on "
        "validation.",
        _integer(1, 1024),
        256,
    )
    patience: int = _parameter(
        "Epochs without a better NDCG on validation (each user's last interaction in train, then not learned from) "
        "after which training ends; the model is the best epoch's. 0: no validation, and the last epoch is the model.",
        _integer(0, 1000),
        0,
    )
    als_unobserved_weight: float = _parameter(
        "Weight of what was not interacted with in als, above 0 to 10 (α in ncf/models/als.py). 1 was best on "
        "MovieLens-1M's validation among 0.1, 0.3 and 1.",
        _number("a number above 0 to 10", lambda value: 0 < value <= 10),
        1.0,
    )
    als_regularization: float = _parameter(
        "Regularization of als per interaction, above 0 to 10 (λ in ncf/models/als.py).",
        _number("a number above 0 to 10", lambda value: 0 < value <= 10),
        0.003,
    )
    als_iterations: int = _parameter(
        "Times that als solves for both sides, 1 to 100.",
        _integer(1, 100),
        6,
    )
    ease_l2: float = _parameter(
        "λ of ease, above 0 to 1000000. As a product of 160 factors, 500 with ease_dropout 0.2 had the best NDCG over "
        "the full catalogue on validation; ease by itself was a little better there with 1000 and no dropout.",
        _number("a number above 0 to 1000000", lambda value: 0 < value <= 1e6),
        500.0,
    )
    ease_dropout: float = _parameter(
        "Share of interactions that ease's regularization supposes dropped, 0 to below 1 (see ncf/models/ease.py).",
        _number("a number from 0 to below 1", lambda value: 0 <= value < 1),
        0.2,
    )
    seed: int = _parameter(
        "Seed of every random draw: weights, negatives, order, dropout, test negatives, bootstrap. 0 to 2^63 - 1.",
        _integer(0, (1 << 63) - 1),
        42,
    )
    device: str = _parameter("auto (cuda if there is one), cpu or cuda.", _one_of(*DEVICES), "auto")
    precision: str = _parameter(
        "Of the products in gmf, mlp and neumf while they learn: float32, bfloat16 or float16 (the half that a T4 "
        "knows). Weights and figures are float32 in any case. A CPU gains nothing by less than the default.",
        _one_of(*PRECISIONS),
        "float32",
    )
    evaluation_negatives: int = _parameter(
        "Negatives per test user in the sampled protocol, 1 to 10000. 99 as in He et al., section 4.1.",
        _integer(1, 10_000),
        99,
    )
    evaluation_k: int = _parameter(
        "Length of the list that HR@k and NDCG@k look at, 1 to 100. 10 as in He et al., section 4.1.",
        _integer(1, 100),
        10,
    )

    def __post_init__(self) -> None:
        match = RUN_ID.fullmatch(self.run_id)
        if not match or match[1] != self.dataset_version:
            raise InvalidHyperparameter(
                f"hyperparameter run_id must begin with dataset_version {self.dataset_version!r}, not {self.run_id!r}"
            )
        try:
            _ = self.architecture
        except ValueError as error:
            raise InvalidHyperparameter(f"hyperparameter {error}") from error
        if self.fusion and self.factors + self.fusion_factors > MAXIMUM_WIDTH:
            raise InvalidHyperparameter(
                f"hyperparameter fusion_factors must be at most {MAXIMUM_WIDTH} together with factors "
                f"{self.factors}, not {self.fusion_factors}"
            )

    @property
    def architecture(self) -> Architecture:
        """Of the neural models; the others have none, and this one is checked all the same."""
        return Architecture(self.model if self.model in MODELS else "neumf", self.factors, self.mlp_layers)

    @classmethod
    def read(cls, texts: dict[str, str]) -> Hyperparameters:
        """From their texts. Raises InvalidHyperparameter, naming the first that is missing, unknown or wrong."""
        known = {parameter.name: parameter for parameter in dataclasses.fields(cls)}
        for name in texts:
            if name not in known:
                raise InvalidHyperparameter(f"hyperparameter {name} is not known; known are {', '.join(known)}")
        values = {}
        for name, parameter in known.items():
            if name in texts:
                try:
                    values[name] = parameter.metadata["read"](texts[name])
                except ValueError as error:
                    raise InvalidHyperparameter(f"hyperparameter {name} {error}, not {texts[name]!r}") from error
            elif parameter.default is dataclasses.MISSING:
                raise InvalidHyperparameter(f"hyperparameter {name} is missing")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
