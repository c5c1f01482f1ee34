"""GMF, MLP and NeuMF: start, training and restoring. `ncf/network.py` has their equations.

*Start.* The GMF half may start from ALS or EASE instead of from random weights, as He et al. 2017, section 3.4.1, start
NeuMF from pre-trained models. `als` uses ALS's factors, and `ease` the best approximation of EASE's scores by a product
of factors. GMF is such a product, so it starts as a good model. The MLP half, whose weight in the logit starts at zero,
learns the rest.

*Fusion.* The trained model is fused with EASE, as section 3.4.1 fuses two models: the logit is the sum of both, with
weights 1 - α and α. This adds factors to the GMF half whose product is EASE's scores, so the result is a NeuMF with
more factors, and serving needs no other code.

*Recent part.* What a person chose last is added to the logits when they ask: `ncf/recent.py`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ncf import recent
from ncf.cores import beside, cores, threads
from ncf.dataset import BrokenDataset, Dataset
from ncf.interface import CannotFit, Context, Kind, Model, Tensors
from ncf.models import als, ease
from ncf.network import MAXIMUM_WIDTH, MODELS, Architecture, Recommender, without_values
from ncf.parameters import Among, Between, integer, integers, number, one_of, parameter
from ncf.plan import Plan
from ncf.recent import WithRecent

STARTS = ("random", "als", "ease", "auto")
"""Starts of the GMF half. `auto` is ease up to `ease.MAXIMUM_ITEMS` items, else als. The model mlp uses `random`."""
VALIDATION_NEGATIVES = 99
"""Number of negatives per user on validation."""
VALIDATION_K = 10
"""List length k of the NDCG on validation."""
GUARD_USERS = 2000
"""Number of users on whom the epochs are compared if users have fewer interactions than factors."""
CALIBRATION_USERS = 512
"""Number of users over which the scales of two fused models are compared."""


@dataclass(frozen=True, kw_only=True)
class Parameters(Plan, als.Parameters, ease.Parameters):
    mlp_layers: tuple[int, ...] = parameter(
        "Widths of the MLP's layers, 1 to 16 numbers, each 1 to 4096. The first is the width of both embeddings "
        "together, so it is even. By default each width is half of the one before, as in He et al., section 3.3.",
        integers("64,32,16"),
        (16, 8),
    )
    start: str = parameter(
        "Start of the GMF half: random (as in the paper), als, ease, or auto (ease up to 20,000 items, als above).",
        one_of(*STARTS),
        "als",
    )
    fusion: float = parameter(
        "Share of EASE in the logits of gmf and neumf, 0 to below 1 (α of He et al. 2017, section 3.4.1). 0: no fusion "
        "with EASE. It has no effect above 20,000 items. 0.5 was best on validation among 0.3 to 0.8.",
        number("a number from 0 to below 1", lambda value: 0 <= value < 1),
        0.5,
        search=Between(0.1, 0.9),
    )
    fusion_factors: int = parameter(
        "Factors that the fusion adds to those of `factors`, 1 to 1024. 256 was better than 128 on validation.",
        integer(1, 1024),
        256,
    )
    recent_neighbours: int = parameter(
        "Most neighbours of an item in the part of a score that is made from a person's last items, 0 to 1000. 0: no "
        "such part. 100 keeps the quality (docs/decisions/0035-a-part-from-the-last-items.md).",
        integer(0, 1000),
        100,
        search=Among(50, 100, 200),
    )

    def __post_init__(self) -> None:
        self.architecture("neumf")  # raises ValueError
        if self.fusion and self.factors + self.fusion_factors > MAXIMUM_WIDTH:
            raise ValueError(
                f"fusion_factors must be at most {MAXIMUM_WIDTH} together with factors {self.factors}, "
                f"not {self.fusion_factors}"
            )

    def architecture(self, model: str) -> Architecture:
        return Architecture(model, self.factors, self.mlp_layers)


def fit(model: str, dataset: Dataset, parameters: Parameters, context: Context) -> Model:
    """Fit `model`, one of MODELS, and its recent part. After an out-of-memory error, one more attempt has half the
    batch size.
    """
    # Imported here, because the server loads this file, but needs no code for fitting.
    from ncf.fitting.distributed import Processes

    network = _stored(model, dataset, parameters, context)
    if parameters.recent_neighbours == 0 or not Processes.current().is_first:
        return network
    from ncf import recency

    return recency.fit(
        dataset,
        network,
        lambda cut: als.factorized(cut, parameters, context),
        network.scaled,
        neighbours=parameters.recent_neighbours,
        seed=parameters.seed,
    )


def _stored(model: str, dataset: Dataset, parameters: Parameters, context: Context) -> Recommender:
    from ncf.fitting.distributed import Processes

    try:
        return _fit(model, dataset, parameters, context)
    except torch.OutOfMemoryError:
        if Processes.current().size > 1:  # the other processes wait in a step that this process cannot finish
            raise
    half = max(1, parameters.batch_size // 2)
    context.warn(f"warning: out of memory on {context.device}; trying once more with batch_size {half}")
    try:
        return _fit(model, dataset, dataclasses.replace(parameters, batch_size=half), context)
    except torch.OutOfMemoryError as error:
        raise CannotFit(
            f"out of memory on {context.device} with batch_size {parameters.batch_size} and with {half}: "
            "choose a larger instance or a smaller batch_size or factors"
        ) from error


def _fit(model: str, dataset: Dataset, parameters: Parameters, context: Context) -> Recommender:
    from ncf.fitting import loop
    from ncf.fitting.distributed import Processes

    held_out = _held_out(dataset, parameters)
    fitted = held_out or dataset
    start = _resolved_start(model, parameters, fitted)
    is_fused = parameters.fusion > 0 and model != "mlp" and dataset.learned_items <= ease.MAXIMUM_ITEMS
    added: Callable[[], tuple[Tensor, Tensor]]
    added = partial(_ease_factors, parameters, dataset, parameters.fusion_factors, context)
    if is_fused and start != "ease" and context.device.type == "cpu" and Processes.current().size == 1:
        added = beside(added)  # the steps leave cores idle
    network = loop.fit(
        fitted,
        parameters.architecture(model),
        parameters,
        context,
        fingerprint=_fingerprint(model, parameters, start, dataset),
        start=None if start == "random" else partial(_start_factors, start, parameters, fitted, context),
        validate=_validate(held_out, parameters, context) if held_out else None,
    )
    return fused(network, *added(), parameters.fusion) if is_fused else network


def _resolved_start(model: str, parameters: Parameters, dataset: Dataset) -> str:
    if model == "mlp":
        return "random"
    if parameters.start == "auto":
        return "ease" if dataset.learned_items <= ease.MAXIMUM_ITEMS else "als"
    return parameters.start


def _fingerprint(model: str, parameters: Parameters, start: str, dataset: Dataset) -> str:
    """Return the sha256 of everything that the weights depend on. Training resumes only from an equal fingerprint."""
    from ncf.fitting.distributed import Processes

    values = dataclasses.asdict(parameters)
    plan = [field.name for field in dataclasses.fields(Plan)]
    # `architecture` and `start` below stand for the first three. The fusion comes after the weights.
    elsewhere = {*plan, "factors", "mlp_layers", "start", "fusion", "fusion_factors", "recent_neighbours"}
    identity = {
        "dataset": dataset.fingerprint,
        "plan": {
            **{name: values[name] for name in plan},
            "architecture": dataclasses.asdict(parameters.architecture(model)),
            "start": start,
        },
        "start": {name: value for name, value in values.items() if name not in elsewhere},
        "optimizer": "rows",
        "torch": torch.__version__,
        "processes": Processes.current().size,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


@torch.no_grad()
def fused(model: Recommender, p: Tensor, q: Tensor, trade_off: float) -> Recommender:
    """Return a model with the logits (1 - α) s + α κ p qᵀ, where s are `model`'s logits, α is `trade_off`, and
    p [users, added], q [items, added] are the added factors.

    κ gives both parts the same scale: the standard deviation of a user's scores over the catalogue, as a mean over a
    sample of users.
    """
    users = torch.linspace(0, p.shape[0] - 1, min(CALIBRATION_USERS, p.shape[0]), device=model.device).long()
    model_scale = model.catalogue(users).std(dim=1).mean()
    product_scale = (p[users] @ q.T).std(dim=1).mean().clamp(min=1e-12)
    own = model.architecture
    architecture = Architecture(own.model, own.factors + p.shape[1], own.mlp_layers)
    wider = Recommender(architecture, p.shape[0], q.shape[0]).to(model.device)
    state = dict(model.state_dict())
    state["towers.0.user.weight"] = torch.cat([state["towers.0.user.weight"], p], dim=1)
    state["towers.0.item.weight"] = torch.cat([state["towers.0.item.weight"], q], dim=1)
    h = state["output.weight"] * (1.0 - trade_off)  # [1, factors + width of the MLP]
    added = torch.full((1, p.shape[1]), float(trade_off * model_scale / product_scale), device=model.device)
    state["output.weight"] = torch.cat([h[:, : own.factors], added, h[:, own.factors :]], dim=1)
    state["output.bias"] = state["output.bias"] * (1.0 - trade_off)
    wider.load_state_dict(state)
    return wider.requires_grad_(False).eval()


def _start_factors(start: str, parameters: Parameters, dataset: Dataset, context: Context) -> tuple[Tensor, Tensor]:
    """Return the factors from which the GMF half starts: [users, factors], [items, factors]."""
    if start == "als":
        return als.factorized(dataset, parameters, context)
    return _ease_factors(parameters, dataset, parameters.factors, context)


def _ease_factors(parameters: Parameters, dataset: Dataset, factors: int, context: Context) -> tuple[Tensor, Tensor]:
    weights = ease.weights_of(dataset, parameters, context)
    with threads(cores()):
        return ease.factors_of(weights, dataset.train, factors, parameters.seed)


def is_sparse(dataset: Dataset, parameters: Parameters) -> bool:
    """True if users have fewer interactions than factors, on average: then more epochs learn them by heart."""
    return len(dataset.train) < parameters.factors * np.unique(dataset.train.user).size


def _held_out(dataset: Dataset, parameters: Parameters) -> Dataset | None:
    """Return the dataset with a validation set; None if the model is that of the last epoch."""
    if parameters.patience:
        return dataset.validation()
    if not is_sparse(dataset, parameters):
        return None
    try:
        return dataset.validation(GUARD_USERS)
    except BrokenDataset:  # nobody has an interaction to spare
        return None


def _validate(held_out: Dataset, parameters: Parameters, context: Context) -> Callable[[Recommender], Tensor]:
    if parameters.patience == 0:
        from ncf.fitting.withheld import gains_of

        test = held_out.test
        return lambda model: gains_of(
            lambda users: model.catalogue(users.to(context.device)), held_out.train, test.user, test.item
        )
    from ncf.evaluation import Evaluation

    evaluation = Evaluation(
        held_out, k=VALIDATION_K, negatives=VALIDATION_NEGATIVES, seed=parameters.seed, device=context.device
    )
    return lambda model: torch.as_tensor(evaluation.measure(model).sampled_gains)


def layout(description: Mapping[str, Any], users: int, items: int) -> dict[str, Tensors]:
    stored, last = recent.split(description)
    model = without_values(Architecture.from_dict(stored), users, items)
    found = {name: Tensors(tensor.dtype, tuple(tensor.shape)) for name, tensor in model.state_dict().items()}
    return found if last is None else found | recent.layout(last, users, items)


def restore(description: Mapping[str, Any], state: Mapping[str, Tensor], users: int, items: int) -> Model:
    stored, last = recent.split(description)
    model = without_values(Architecture.from_dict(stored), users, items)
    own = {name: tensor for name, tensor in state.items() if not name.startswith(recent.PREFIX)}
    model.load_state_dict(own, strict=True, assign=True)
    model.requires_grad_(False).eval()
    return model if last is None else WithRecent(model, recent.restore(last, state))


def epoch(parameters: Parameters, dataset: Dataset) -> str:
    return "validation-best" if parameters.patience or is_sparse(dataset, parameters) else "last"


KINDS = tuple(
    Kind(name, Parameters, partial(fit, name), layout, restore, epoch, trains_together=True) for name in MODELS
)
