"""GMF, MLP and NeuMF (`ncf/model.py` has their equations): how each starts, is fitted, and is read back.

The GMF half may start from a closed-form model instead of at random, as He et al. 2017, section 3.4.1, start NeuMF from
models trained before: `als` from its factors, `ease` from the best approximation of EASE's scores by a product of
factors. A product is all that GMF is, so it begins with a model that is already good, and the MLP half, which starts
without a say, learns what a product cannot express.

What was trained may then be *fused* with EASE, as section 3.4.1 fuses two models that were trained apart: their logits
are added, weighed by a trade-off α, here by giving the GMF half further factors, whose product is EASE's scores. The
result is one NeuMF with more factors, and neither training nor serving knows of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ncf.data import Dataset
from ncf.evaluation import Evaluation
from ncf.fit import Plan, Start, Validate
from ncf.fit import fit as fit_plan
from ncf.interface import Context, Kind, Tensors
from ncf.model import MODELS, Architecture, Recommender
from ncf.models import als, ease
from ncf.world import World

if TYPE_CHECKING:
    from hyperparameters import Hyperparameters

STARTS = ("random", "als", "ease", "auto")
"""`auto`: ease up to `ease.MAXIMUM_ITEMS`, als beyond; random for the MLP, which has no product to start."""
VALIDATION_NEGATIVES = 99
VALIDATION_K = 10
CALIBRATION_USERS = 512


def fit(dataset: Dataset, hyperparameters: Hyperparameters, context: Context) -> Recommender:
    held_out = dataset.validation() if hyperparameters.patience else None
    learned = held_out or dataset
    plan = _plan(hyperparameters, learned)
    given = hyperparameters.to_dict()
    identity = {
        "dataset": dataset.fingerprint,
        "plan": dataclasses.asdict(plan),
        "start": {name: value for name, value in given.items() if name.startswith(("als_", "ease_"))},
        "torch": torch.__version__,
        "processes": World.here().size,
    }
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    model = fit_plan(
        learned,
        plan,
        context,
        fingerprint=fingerprint,
        start=_start(plan, hyperparameters, learned, context),
        validate=_validate(held_out, plan.seed, context) if held_out else None,
    )
    if hyperparameters.fusion == 0 or model.name == "mlp" or dataset.items > ease.MAXIMUM_ITEMS:
        return model
    p, q = _ease_factors(hyperparameters, learned, hyperparameters.fusion_factors, context)
    return fused(model, p, q, hyperparameters.fusion)


@torch.no_grad()
def fused(model: Recommender, p: Tensor, q: Tensor, trade_off: float) -> Recommender:
    """A model with logits (1 - α) s + α κ p qᵀ, where s is `model`'s, p [users, more], q [items, more].

    κ brings both to one spread: the deviation of a user's scores over the catalogue, as a mean over a sample of users.
    """
    users = torch.linspace(0, p.shape[0] - 1, min(CALIBRATION_USERS, p.shape[0]), device=model.device).long()
    ours = model.catalogue(users).std(dim=1).mean()
    theirs = (p[users] @ q.T).std(dim=1).mean().clamp(min=1e-12)
    own = model.architecture
    architecture = Architecture(own.model, own.factors + p.shape[1], own.mlp_layers)
    wider = Recommender(architecture, p.shape[0], q.shape[0]).to(model.device)
    state = dict(model.state_dict())
    state["towers.0.user.weight"] = torch.cat([state["towers.0.user.weight"], p], dim=1)
    state["towers.0.item.weight"] = torch.cat([state["towers.0.item.weight"], q], dim=1)
    h = state["output.weight"] * (1.0 - trade_off)  # [1, factors + width of the MLP]
    added = torch.full((1, p.shape[1]), float(trade_off * ours / theirs), device=model.device)
    state["output.weight"] = torch.cat([h[:, : own.factors], added, h[:, own.factors :]], dim=1)
    state["output.bias"] = state["output.bias"] * (1.0 - trade_off)
    wider.load_state_dict(state)
    return wider.requires_grad_(False).eval()


def _plan(hyperparameters: Hyperparameters, dataset: Dataset) -> Plan:
    start = hyperparameters.start
    if hyperparameters.model == "mlp":
        start = "random"
    elif start == "auto":
        start = "ease" if dataset.items <= ease.MAXIMUM_ITEMS else "als"
    return Plan(
        architecture=hyperparameters.architecture,
        epochs=hyperparameters.epochs,
        batch_size=hyperparameters.batch_size,
        learning_rate=hyperparameters.learning_rate,
        negatives_per_positive=hyperparameters.negatives_per_positive,
        l2=hyperparameters.l2,
        dropout=hyperparameters.dropout,
        seed=hyperparameters.seed,
        loss=hyperparameters.loss,
        shared_negatives=hyperparameters.shared_negatives,
        start=start,
        start_scale=hyperparameters.start_scale,
        start_rate=hyperparameters.start_rate,
        patience=hyperparameters.patience,
        precision=hyperparameters.precision,
    )


def _start(plan: Plan, hyperparameters: Hyperparameters, dataset: Dataset, context: Context) -> Start | None:
    if plan.start == "random":
        return None

    def factors() -> tuple[Tensor, Tensor]:
        if plan.start == "als":
            model = als.fit(dataset, hyperparameters, dataclasses.replace(context, device=torch.device("cpu")))
            state = model.state()
            return state["users"], state["items"]
        return _ease_factors(hyperparameters, dataset, plan.architecture.factors, context)

    return factors


def _ease_factors(
    hyperparameters: Hyperparameters, dataset: Dataset, factors: int, context: Context
) -> tuple[Tensor, Tensor]:
    weights = ease.item_item(
        dataset.train, dataset.items, hyperparameters.ease_l2, hyperparameters.ease_dropout, context.device
    )
    return ease.factors_of(weights, dataset.train, factors, hyperparameters.seed)


def _validate(held_out: Dataset, seed: int, context: Context) -> Validate:
    evaluation = Evaluation(held_out, k=VALIDATION_K, negatives=VALIDATION_NEGATIVES, seed=seed, device=context.device)
    return lambda model: float(evaluation.measure(model).sampled_gains.mean())


def layout(description: Mapping[str, Any], users: int, items: int) -> dict[str, Tensors]:
    with torch.device("meta"):
        model = Recommender(Architecture.from_dict(dict(description)), users, items)
    return {name: Tensors(tensor.dtype, tuple(tensor.shape)) for name, tensor in model.state_dict().items()}


def restore(description: Mapping[str, Any], state: Mapping[str, Tensor], users: int, items: int) -> Recommender:
    with torch.device("meta"):
        model = Recommender(Architecture.from_dict(dict(description)), users, items)
    model.load_state_dict(dict(state), strict=True, assign=True)
    return model.requires_grad_(False).eval()


def epoch(hyperparameters: Hyperparameters) -> str:
    return "validation-best" if hyperparameters.patience else "last"


KINDS = tuple(Kind(name, fit, layout, restore, epoch) for name in MODELS)
