"""Tests of every model. Each file in `ncf/models/` is tested without being named here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import current_thread
from typing import Any

import numpy as np
import pytest
import torch

from ncf import bundle as bundles
from ncf import dataset_files
from ncf.bundle import BrokenBundle, Bundle
from ncf.cores import threads
from ncf.dataset import Dataset, Pairs
from ncf.evaluation import Evaluation
from ncf.golden import golden
from ncf.interface import CannotFit, Context, Model
from ncf.models import ease, neural
from ncf.network import Recommender
from ncf.ranking import rank
from ncf.registry import kind_named, kinds

pytestmark = pytest.mark.slow

VERSION = "v20260102t030405z-0a1b2c3d"
EVERY = sorted(kinds())
PERSONAL = [name for name in EVERY if name != "popularity"]


SMALL: dict[str, Any] = {
    "factors": 8,
    "mlp_layers": (16, 8),
    "epochs": 30,
    "learning_rate": 0.01,
    "batch_size": 128,
    "ease_l2": 10,
    "fusion_factors": 8,
    "cooccurrence_window": 16,
    "recent_neighbours": 100,
}


def chosen(model: str, **changes: Any) -> Any:
    """Return the parameters of a model: the values of SMALL and `changes` that the model declares."""
    declared = kind_named(model).parameters
    names = {one.name for one in dataclasses.fields(declared)}
    return declared.of(**{name: value for name, value in (SMALL | changes).items() if name in names})


def fitted(model: str, dataset: Dataset, **changes: object) -> Model:
    return kind_named(model).fit(dataset, chosen(model, **changes), Context())


@pytest.fixture(scope="module")
def once(board: Dataset, small_shop: Dataset) -> Callable[..., Model]:
    """`fitted` on the board or, for two epochs, on the shop: made once, for tests that do not change the model."""

    @cache
    def make(model: str, on: str) -> Model:
        return fitted(model, board) if on == "board" else fitted(model, small_shop, epochs=2)

    return make


def written(model: Model, dataset: Dataset, directory: Path) -> Bundle:
    seen = dataset.everything()
    return bundles.write(
        directory,
        model=model,
        user_ids=dataset.user_ids,
        item_ids=dataset.item_ids,
        seen_indptr=seen.indptr,
        seen_indices=seen.item.astype("int32"),
        popularity=dataset.popularity,
        run_id=f"{VERSION}-r1",
        dataset_version=VERSION,
        code_version="test",
        golden=golden,
    )


@pytest.fixture(scope="module")
def board(
    tmp_path_factory: pytest.TempPathFactory, write: Callable[..., Path], checkerboard_pairs: list[tuple[str, str]]
) -> Dataset:
    return dataset_files.load(write(tmp_path_factory.mktemp("board"), checkerboard_pairs), VERSION)


@pytest.fixture(scope="module")
def small_shop(shop_dataset: Path) -> Dataset:
    return dataset_files.load(shop_dataset, VERSION)


def test_there_are_baselines_and_neural_models() -> None:
    assert {"popularity", "als", "ease", "gmf", "mlp", "neumf"} <= set(EVERY)


@pytest.mark.parametrize("model", PERSONAL)
def test_on_a_checkerboard_the_withheld_item_ranks_first(
    model: str, board: Dataset, once: Callable[..., Model]
) -> None:
    outcome = Evaluation(board, k=1, negatives=99, seed=1, device="cpu").measure(once(model, "board"))
    assert outcome.full_hits.tolist() == [1.0] * board.users
    assert outcome.sampled_hits.tolist() == [1.0] * board.users


@pytest.mark.parametrize("loss", ["block_bce", "block_softmax"])
@pytest.mark.parametrize("shared_negatives", [8, 32])
@pytest.mark.parametrize("start", ["random", "als", "ease"])
def test_with_every_loss_and_start_the_withheld_item_ranks_first_on_a_checkerboard(
    loss: str, shared_negatives: int, start: str, board: Dataset
) -> None:
    """By the network alone: other parts would find the item without it. After one epoch from random weights it does
    not yet rank first."""
    alone = {"recent_neighbours": 0, "fusion": 0, "epochs": 10 if start == "random" else 1}
    model = fitted("neumf", board, loss=loss, shared_negatives=shared_negatives, start=start, **alone)
    outcome = Evaluation(board, k=1, negatives=99, seed=1, device="cpu").measure(model)
    assert outcome.full_hits.tolist() == [1.0] * board.users


@pytest.mark.parametrize("model", PERSONAL)
def test_is_better_than_popularity_on_a_shop_with_tastes(model: str, small_shop: Dataset) -> None:
    evaluation = Evaluation(small_shop, k=10, negatives=30, seed=1, device="cpu")
    popular = evaluation.measure(fitted("popularity", small_shop))
    assert evaluation.measure(fitted(model, small_shop, epochs=5)).sampled_gains.mean() > popular.sampled_gains.mean()


@pytest.mark.parametrize("model", EVERY)
def test_a_pair_has_the_score_that_it_has_in_the_catalogue(
    model: str, small_shop: Dataset, once: Callable[..., Model]
) -> None:
    model_ = once(model, "shop")
    users = torch.tensor([3, 0, 119, 3])
    everything = model_.catalogue(users)
    assert everything.shape == (4, small_shop.items)
    assert torch.isfinite(everything).all()
    wanted = torch.randint(small_shop.items, (4, 7), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model_.pairs(users, wanted), everything.gather(1, wanted))
    torch.testing.assert_close(model_.catalogue(users[1:2]), everything[1:2])
    everything.zero_()
    assert not model_.catalogue(users).eq(0).all(), "the caller may overwrite the scores"


@pytest.mark.parametrize("model", PERSONAL)
def test_on_a_checkerboard_the_related_items_are_of_the_same_colour(
    model: str, board: Dataset, once: Callable[..., Model]
) -> None:
    model_ = once(model, "board")
    colour = np.arange(board.items) % 2
    for item in range(board.items):
        related = model_.related(item)
        assert related is not None
        assert related.shape == (board.items,) and torch.isfinite(related).all()
        related[item] = -torch.inf
        best = related.topk(board.items // 2 - 1).indices.numpy()
        assert (colour[best] == colour[item]).all()
        assert not model_.related(item).isinf().any(), "the caller may overwrite the scores"  # type: ignore[union-attr]


def test_popularity_relates_no_items(board: Dataset) -> None:
    assert fitted("popularity", board).related(0) is None


@pytest.mark.parametrize("model", EVERY)
def test_a_saved_and_loaded_model_gives_the_same_scores(
    model: str, small_shop: Dataset, tmp_path: Path, once: Callable[..., Model]
) -> None:
    before = once(model, "shop")
    bundle = written(before, small_shop, tmp_path / "model")
    users = torch.arange(small_shop.users)
    assert bundle.model.name == model
    after, state = bundle.model.state(), before.state()
    assert all(torch.equal(after[name], state[name]) for name in state)
    # The memory address of a matrix may change the order of a sum, and so its last digit.
    torch.testing.assert_close(bundle.model.catalogue(users), before.catalogue(users), atol=1e-6, rtol=1e-5)
    assert bundle.model.describe() == before.describe()


@pytest.mark.parametrize("model", EVERY)
def test_the_same_seed_gives_the_same_figures(model: str, small_shop: Dataset, once: Callable[..., Model]) -> None:
    first, second = once(model, "shop").state(), fitted(model, small_shop, epochs=2).state()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_ease_is_computed_beside_the_steps_and_gives_the_same_model(
    small_shop: Dataset, once: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    computed: list[str] = []
    compute = neural._ease_factors

    def noted(*given: Any) -> Any:
        computed.append(current_thread().name)
        return compute(*given)

    monkeypatch.setattr(neural, "_ease_factors", noted)
    with threads(1):
        beside = fitted("neumf", small_shop, epochs=2).state()
    assert computed == ["beside"]
    for name, tensor in once("neumf", "shop").state().items():
        torch.testing.assert_close(beside[name], tensor, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("model", EVERY)
def test_an_unknown_user_gets_the_popular_items(
    model: str, small_shop: Dataset, tmp_path: Path, once: Callable[..., Model]
) -> None:
    bundle = written(once(model, "shop"), small_shop, tmp_path / "model")
    answer = rank(bundle, {"userId": "nobody", "numResults": 3})
    assert answer["source"] == "popular"
    best = np.argsort(-small_shop.popularity, kind="stable")[:3]
    assert [item["itemId"] for item in answer["itemList"]] == [small_shop.item_ids[item] for item in best]


@pytest.mark.parametrize("model", EVERY)
def test_the_test_set_has_no_effect_on_the_model(model: str, small_shop: Dataset, once: Callable[..., Model]) -> None:
    other = dataclasses.replace(small_shop, test=dataclasses.replace(small_shop.test, item=small_shop.test.item * 0))
    first, second = once(model, "shop").state(), fitted(model, other, epochs=2).state()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("model", EVERY)
def test_a_description_with_an_unknown_key_is_refused(
    model: str, small_shop: Dataset, tmp_path: Path, once: Callable[..., Model]
) -> None:
    made = once(model, "shop")
    with pytest.raises(BrokenBundle, match=r"bundle\.json: architecture: must have exactly model"):
        written(_Changed(made, describe=made.describe() | {"colour": "blue"}), small_shop, tmp_path / "model")


@pytest.mark.parametrize("model", EVERY)
def test_a_truncated_tensor_is_named(
    model: str, small_shop: Dataset, tmp_path: Path, once: Callable[..., Model]
) -> None:
    made = once(model, "shop")
    for number, (name, tensor) in enumerate(made.state().items()):
        cut = _Changed(made, state=made.state() | {name: tensor[:-1].clone()})
        # EASE may have any number of interactions, but it must be the number in indptr.
        with pytest.raises(
            BrokenBundle,
            match=rf"weights\.safetensors: ({name} has shape|(recent\.)?(neighbour_)?indptr does not divide)",
        ):
            written(cut, small_shop, tmp_path / str(number))


class _Changed:
    """A model with another description or another state."""

    def __init__(self, model: Model, **answers: Any) -> None:
        self._model, self._answers = model, answers

    def __getattr__(self, name: str) -> Any:
        if name in self._answers:
            return lambda: self._answers[name]
        return getattr(self._model, name)


def first_users(dataset: Dataset, number: int) -> Dataset:
    pairs = dataset.train
    kept = pairs.user < number
    train = Pairs.of(pairs.user[kept], pairs.item[kept], number, dataset.items)
    rest = {name: getattr(dataset, name)[kept] for name in ("events", "worth", "is_bought")}
    return dataclasses.replace(dataset, user_ids=dataset.user_ids[:number], train=train, **rest)


@pytest.mark.parametrize("by", ["items", "users"])
def test_ease_has_the_weights_of_its_definition(by: str, small_shop: Dataset) -> None:
    if by == "users":
        small_shop = first_users(small_shop, 40)
    interactions = torch.zeros(small_shop.users, small_shop.items, dtype=torch.float64)
    interactions[torch.as_tensor(small_shop.train.user), torch.as_tensor(small_shop.train.item)] = 1
    gram = interactions.T @ interactions
    inverse = torch.linalg.inv(gram + torch.diag(5.0 + 0.25 / 0.75 * gram.diagonal()))
    expected = -inverse / inverse.diagonal()
    expected.fill_diagonal_(0)
    weights = ease.item_item(small_shop.train, small_shop.items, 5.0, 0.25, torch.device("cpu"))
    torch.testing.assert_close(weights.double(), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("users", [20, 90], ids=["few users", "many users"])
def test_ease_with_all_factors_gives_its_exact_scores(users: int, small_shop: Dataset) -> None:
    small_shop = first_users(small_shop, users)
    weights = ease.item_item(small_shop.train, small_shop.items, 5.0, 0.25, torch.device("cpu"))
    p, q = ease.factors_of(weights, small_shop.train, small_shop.items + 4, seed=1)
    assert p.shape == (small_shop.users, small_shop.items + 4)
    exact = fitted("ease", small_shop, ease_l2=5, ease_dropout=0.25).catalogue(torch.arange(users))
    torch.testing.assert_close(p @ q.T, exact, atol=1e-4, rtol=1e-3)


def test_a_fused_model_is_the_weighted_sum_of_both_at_one_scale(small_shop: Dataset) -> None:
    model = fitted("neumf", small_shop, epochs=2, fusion=0, recent_neighbours=0)
    assert isinstance(model, Recommender)
    p, q = torch.randn(small_shop.users, 5), torch.randn(small_shop.items, 5)
    users = torch.arange(small_shop.users)
    ours, theirs = model.catalogue(users), p @ q.T
    together = neural.fused(model, p, q, 0.25)
    assert together.architecture.factors == 8 + 5
    spread = ours.std(dim=1).mean() / theirs.std(dim=1).mean()
    expected = 0.75 * ours + 0.25 * spread * theirs
    torch.testing.assert_close(together.catalogue(users), expected, atol=1e-4, rtol=1e-4)


def test_a_penalty_too_small_for_ease_is_named(small_shop: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsolvable(matrix: torch.Tensor) -> torch.Tensor:
        raise torch.linalg.LinAlgError("the leading minor of order 3 is not positive-definite")

    monkeypatch.setattr(torch.linalg, "cholesky", unsolvable)
    with pytest.raises(CannotFit, match=r"ease cannot be solved with ease_l2 1e-06: choose a greater value"):
        fitted("ease", small_shop, ease_l2=1e-6)
    with pytest.raises(CannotFit, match=r"als cannot be solved with als_regularization 1e-06: choose a greater value"):
        fitted("als", small_shop, als_regularization=1e-6)


def test_a_checkpoint_of_another_start_is_ignored(small_shop: Dataset, tmp_path: Path) -> None:
    warnings: list[str] = []
    context = Context(checkpoints=tmp_path, warn=warnings.append)
    kind_named("gmf").fit(small_shop, chosen("gmf", epochs=1, als_unobserved_weight=1), context)
    kind_named("gmf").fit(small_shop, chosen("gmf", epochs=1, als_unobserved_weight=1, als_regularization=0.5), context)
    assert warnings == [
        "warning: the checkpoint has other data or hyperparameters, so training starts from the beginning"
    ]


def test_ease_refuses_a_catalogue_beyond_its_limit(small_shop: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncf.models.ease.MAXIMUM_ITEMS", 59)
    with pytest.raises(CannotFit, match="ease is for catalogues of up to 59 items and this one has 60: choose als"):
        fitted("ease", small_shop)


def test_als_minimises_its_objective(small_shop: Dataset) -> None:
    """At the minimum, the gradient with respect to the users' factors is zero."""
    state = fitted("als", small_shop, factors=4, als_iterations=3).state()
    p, q = state["users"].double(), state["items"].double()
    observed = torch.zeros(small_shop.users, small_shop.items, dtype=torch.float64)
    observed[torch.as_tensor(small_shop.train.user), torch.as_tensor(small_shop.train.item)] = 1
    scores = p @ q.T
    counts = observed.sum(dim=1) + small_shop.items
    # Balancing moves a scale from one side to the other, and changes λ; only the gradient's direction is known.
    gradient = (observed * (scores - 1) + scores) @ q  # [users, factors]
    scale = -(gradient * p).sum() / ((counts[:, None] * p) * p).sum()
    torch.testing.assert_close(gradient, -scale * counts[:, None] * p, atol=1e-4, rtol=1e-3)


def test_validation_holds_out_last_interactions_but_never_the_only_one_of_an_item(small_shop: Dataset) -> None:
    held_out = small_shop.validation()
    assert np.array_equal(held_out.test.item, small_shop.latest[held_out.test.user])
    assert len(held_out.train) + len(held_out.test) == len(small_shop.train)
    assert (np.bincount(held_out.train.item, minlength=60)[small_shop.popularity > 0] > 0).all()
    # 120 customers with 12 purchases each. A few keep their last item, because no other user has it.
    assert len(held_out.test) > 100


def test_with_patience_the_best_epoch_on_validation_is_the_model(small_shop: Dataset) -> None:
    reported: list[Any] = []
    context = Context(report=reported.append)
    parameters = chosen("gmf", epochs=60, patience=2, learning_rate=0.05, start="random", fusion=0, recent_neighbours=0)
    model = kind_named("gmf").fit(small_shop, parameters, context)
    scores = [progress.validation_ndcg for progress in reported]
    best = int(np.argmax(scores)) + 1
    assert len(scores) == best + 2 < 60
    held_out = small_shop.validation()
    measured = Evaluation(held_out, k=10, negatives=99, seed=42, device="cpu").measure(model).sampled_gains.mean()
    assert measured == scores[best - 1]
    assert kind_named("gmf").epoch(parameters, small_shop) == "validation-best"
