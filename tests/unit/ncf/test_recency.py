"""Fitting the recent part: on data with an order it leads, without one it leaves the model as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from contracts.splits import GLOBAL_TIME
from ncf import recency
from ncf.dataset import BrokenDataset, Dataset, History, Pairs, Split
from ncf.evaluation import Evaluation
from ncf.interface import Context, Model
from ncf.models import als
from ncf.models.als import Als
from ncf.neighbours import LAST_ITEMS
from ncf.recent import WithRecent

ITEMS = 40
PARAMETERS = als.Parameters.of(factors=8)


def dataset(histories: list[list[int]]) -> Dataset:
    user = np.repeat(np.arange(len(histories)), [len(own) for own in histories])
    item = np.concatenate([np.array(own) for own in histories])
    return Dataset(
        "v",
        "f",
        [f"u{index}" for index in range(len(histories))],
        [f"i{index}" for index in range(ITEMS)],
        Pairs.of(user, item, len(histories), ITEMS),
        Pairs.none(len(histories)),
        np.bincount(item, minlength=ITEMS),
        np.array([own[-1] for own in histories]),
        history=History(item.astype(np.int32), np.zeros(item.size, dtype=bool)),
    )


def ring(users: int = 200) -> Dataset:
    """After item i everybody chooses item i + 1."""
    random = np.random.default_rng(3)
    starts, lengths = random.integers(0, ITEMS, users), random.integers(4, 12, users)
    return dataset(
        [((np.arange(length) + start) % ITEMS).tolist() for start, length in zip(starts, lengths, strict=True)]
    )


def noise(users: int = 300) -> Dataset:
    random = np.random.default_rng(4)
    return dataset([random.permutation(ITEMS)[:8].tolist() for _ in range(users)])


def factors(cut: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    return als.factorize(cut.train, cut.items, PARAMETERS, Context())


def scaled(model: Model) -> Callable[[float, float], Model]:
    users, items = model.state()["users"], model.state()["items"]

    def made(factor: float, shift: float) -> Model:
        return Als(
            torch.cat([users * factor, torch.full((len(users), 1), shift)], dim=1),
            torch.cat([items, torch.ones(len(items), 1)], dim=1),
        )

    return made


def fitted(data: Dataset) -> WithRecent:
    stored = als.fit(data, PARAMETERS, Context())
    made = recency.fit(data, stored, factors, scaled(stored), neighbours=100, seed=1)
    assert isinstance(made, WithRecent)
    return made


def test_what_stands_for_the_model_on_validation_has_its_best_items_as_far_above_the_others() -> None:
    cut = ring().validation()
    p, q, _ = recency._stand_in(cut, factors, 3.0, seed=1)
    scores = p @ q.T
    middle = scores.median(dim=1).values
    scores[torch.as_tensor(cut.train.user), torch.as_tensor(cut.train.item)] = -torch.inf
    assert float((scores.amax(dim=1) - middle).mean()) == pytest.approx(3.0)


def test_what_comes_next_is_first_where_there_is_an_order() -> None:
    data = ring()
    model = fitted(data)
    assert model.recent.gain > recency.LEAST_GAIN
    scores = model.catalogue(torch.arange(data.users))
    scores.view(-1)[torch.as_tensor(data.train.user * ITEMS + data.train.item)] = -torch.inf
    assert (scores.argmax(dim=1).numpy() == (data.latest + 1) % ITEMS).mean() > 0.95


def test_a_stranger_gets_what_follows_from_a_history() -> None:
    model = fitted(ring())
    scores = model.scores_of(None, model.recent.last(None, [7, 8, 9]))
    scores[[7, 8, 9]] = -torch.inf
    assert int(scores.argmax()) == 10


def test_the_best_new_items_score_as_high_as_those_of_the_stored_part_alone() -> None:
    data = ring()
    model = fitted(data)
    users = torch.arange(data.users)

    def best(scores: torch.Tensor) -> torch.Tensor:
        scores = scores.clone()
        scores[torch.as_tensor(data.train.user), torch.as_tensor(data.train.item)] = -torch.inf
        return scores.amax(dim=1).mean()

    own = best(als.fit(data, PARAMETERS, Context()).catalogue(users))
    assert model.recent.gain > recency.LEAST_GAIN
    torch.testing.assert_close(best(model.catalogue(users)), own, rtol=0.01, atol=0.01)
    strangers = model.recent.prior + model.recent.added_for(users)
    torch.testing.assert_close(best(strangers), own, rtol=0.01, atol=0.01)


def test_people_who_have_everything_have_no_best_item() -> None:
    data = dataset([list(range(ITEMS)), list(range(ITEMS))])
    assert recency._best(lambda users: torch.rand(users.numel(), ITEMS), data, torch.device("cpu")) == (0.0, 1e-12)


def test_without_any_order_or_taste_known_people_keep_the_order_of_the_stored_part() -> None:
    model = fitted(noise())
    assert model.recent.gain == recency.LEAST_GAIN
    users = torch.arange(50)
    difference = model.catalogue(users) - model.stored.catalogue(users)
    assert float(difference.abs().max()) < 0.1


def test_own_items_count_as_others_where_nobody_chooses_items_again() -> None:
    model = fitted(ring())
    assert model.recent.repeat_gain == 0.0
    assert model.recent.repeats.numel() == LAST_ITEMS
    assert (model.recent.often == 1.0).all()


def regulars(users: int = 150) -> Dataset:
    """Each person chooses 3 favourites, drawn at random, 5 times and two of them also at the last visit; and 12 other
    items once. Every visit has 3 items.
    """
    random = np.random.default_rng(5)
    own, often, tied = [], [], []
    for user in range(users):
        items = random.permutation(ITEMS)[:15]
        last = items[[user % 3, (user + 1) % 3, 4]]
        own.append([*[item for item in random.permutation(items) if item not in last], *last])
        often.append([5 if item in items[:3] else 1 for item in own[-1]])
        tied.append([place % 3 != 0 for place in range(15)])
    data = dataset(own)
    keys = data.train.user * ITEMS + data.history.item
    events = np.concatenate(often)[np.argsort(keys)].astype(np.int32)
    history = History(data.history.item, np.concatenate(tied))
    return dataclasses.replace(data, history=history, events=events)


@pytest.mark.parametrize("split", [Split(), Split(GLOBAL_TIME, 0)])
def test_what_people_choose_again_and_again_is_first_among_all_items(split: Split) -> None:
    data = dataclasses.replace(regulars(), split=split)
    model = fitted(data)
    recent = model.recent
    assert (
        recent.repeat_gain > 0 and (recent.repeats.diff() < 0).all() and recent.repeats.numel() == recency.REPEAT_LAST
    )
    assert (recent.fading[LAST_ITEMS:] == 0).all() and (recent.fading[:LAST_ITEMS] > 0).all()
    users = torch.arange(data.users)
    scores = model.catalogue(users)
    assert float(scores.max()) <= recency.GREATEST_LOGIT * 1.001
    favourite = torch.zeros(data.users, ITEMS)
    favourite[data.train.user, data.train.item] = torch.as_tensor(data.events > 1).float()
    assert float(favourite.gather(1, scores.topk(3).indices).mean()) > 0.9
    # Items that are new to a person have the scores that they would have without.
    without = WithRecent(model.stored, dataclasses.replace(recent, repeat_gain=0.0)).catalogue(users)
    is_new = torch.ones(data.users, ITEMS, dtype=torch.bool)
    is_new[data.train.user, data.train.item] = False
    torch.testing.assert_close(scores[is_new], without[is_new])
    assert float(favourite.gather(1, without.topk(3).indices).mean()) < 0.6


def test_on_validation_an_item_of_the_last_visit_was_chosen_once_less_often_before_everything_else() -> None:
    data = dataset([[4, 1, 2, 3], [5, 6]])
    history = History(data.history.item, np.array([False, False, False, True, False, False]))
    data = dataclasses.replace(data, history=history, events=np.array([1, 3, 1, 2, 1, 2], np.int32))
    cut = recency._with_chosen_before(data, data.last_visits())
    assert list(zip(cut.test.user.tolist(), cut.test.item.tolist(), strict=True)) == [(0, 2), (0, 3), (1, 6)]
    assert list(zip(cut.train.user.tolist(), cut.train.item.tolist(), strict=True)) == [
        (0, 1),
        (0, 2),
        (0, 4),
        (1, 5),
        (1, 6),
    ]
    assert cut.events.tolist() == [1, 2, 2, 1, 1]
    np.testing.assert_allclose(cut.worth, [1.0, 2 / 3, 1.0, 1.0, 0.5])
    assert cut.history.item.tolist() == [2, 4, 1, 6, 5] and not cut.history.is_tied.any()
    assert cut.popularity.sum() == 5


def test_at_most_so_many_neighbours_are_kept_and_none_has_a_negative_weight() -> None:
    part = recency.part(ring(), 3, 1.0, 1.0)
    assert int(part.neighbour_indptr.diff().max()) <= 3
    assert bool((part.weights > 0).all())


def test_the_weights_of_large_data_are_chosen_on_a_sample_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ring()
    monkeypatch.setattr(recency, "INTERACTIONS", len(data.train) // 2)
    sample = recency._sample(data, 1, recency.INTERACTIONS)
    assert 0.4 < len(sample.train) / len(data.train) <= 0.5
    assert np.array_equal(sample.latest, sample.history.item[sample.train.indptr[1:] - 1])
    model = fitted(data)
    assert model.recent.indptr.numel() == data.users + 1, "everybody has last items"
    assert model.recent.gain > recency.LEAST_GAIN


def test_a_model_of_data_without_an_interaction_to_spare_has_no_recent_part() -> None:
    data = dataset([[0], [1], [2]])
    stored: Model = Als(torch.ones(3, 2), torch.ones(ITEMS, 2))
    assert recency.fit(data, stored, factors, scaled(stored), neighbours=100, seed=1) is stored


def test_data_without_times_are_fitted_as_one_visit_a_person() -> None:
    data = ring()
    object.__setattr__(data, "history", History.unknown(data.train))
    assert not fitted(data).recent.later.any()


def baskets(split: Split, users: int = 200) -> Dataset:
    """Everybody has three baskets of four neighbours on the ring, at any place of it."""
    random = np.random.default_rng(5)
    starts = [random.permutation(ITEMS // 4)[:3] * 4 for _ in range(users)]
    made = dataset([(own[:, None] + np.arange(4)).ravel().tolist() for own in starts])
    is_tied = np.arange(len(made.train)) % 4 > 0
    return dataclasses.replace(made, split=split, history=History(made.history.item, is_tied))


def test_after_a_cut_in_time_what_is_in_one_basket_foretells_nothing() -> None:
    def tells_nothing(cut: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(7)
        return torch.randn(cut.users, 4, generator=generator), torch.randn(ITEMS, 4, generator=generator)

    for split, foretells in ((Split(), True), (Split(GLOBAL_TIME, 0), False)):
        data = baskets(split)
        stored = Als(*tells_nothing(data))
        made = recency.fit(data, stored, tells_nothing, scaled(stored), neighbours=100, seed=1)
        assert isinstance(made, WithRecent)
        assert (made.recent.gain > recency.LEAST_GAIN) == foretells


def test_the_last_visit_is_all_at_the_last_time() -> None:
    data = baskets(Split(GLOBAL_TIME, 0), users=3)
    cut = data.last_visits()
    assert len(cut.test) == 12 and len(cut.train) == 24
    for user in range(3):
        held_out = cut.test.item[cut.test.user == user]
        assert sorted(data.history.item[12 * user + 8 : 12 * user + 12]) == held_out.tolist()
        assert cut.history.item[8 * user : 8 * user + 8].tolist() == data.history.item[12 * user :][:8].tolist()
    one_time = dataclasses.replace(data, history=History(data.history.item, np.arange(36) % 12 > 0))
    with pytest.raises(BrokenDataset, match="no user with interactions at two times"):
        one_time.last_visits()


def test_the_scores_of_the_best_items_stay_apart() -> None:
    data = ring()
    stored = als.fit(data, PARAMETERS, Context())
    made = recency.fit(data, stored, factors, scaled(stored), neighbours=100, seed=1)
    users = torch.arange(20)
    before, after = stored.catalogue(users).amax(dim=1), made.catalogue(users).amax(dim=1)
    assert made.recent.gain > recency.LEAST_GAIN  # type: ignore[attr-defined]  # it has a recent part
    assert after.mean() < 2 * before.mean()


def test_both_tests_by_time_measure_the_model_with_its_own_items() -> None:
    """The slice with repeats sees the difference; the test without them, where own items are left out, none."""
    data = dataclasses.replace(regulars(), split=Split(GLOBAL_TIME, 0))
    new = [
        next(item for item in range(ITEMS) if item not in data.train.item[data.train.user == user])
        for user in range(50)
    ]
    test = Pairs.of(np.arange(50), np.array(new), data.users, ITEMS)
    again = Pairs.of(data.train.user[data.events > 1], data.train.item[data.events > 1], data.users, ITEMS)
    data = dataclasses.replace(data, test=test, repeats=again)
    model = fitted(data)
    without = WithRecent(model.stored, dataclasses.replace(model.recent, repeat_gain=0.0))
    evaluation = Evaluation(data, k=10, negatives=5, seed=1, device="cpu", with_repeats=again)
    ours, theirs = (evaluation.measure(one).to_dict() for one in (model, without))
    assert ours["full"] == theirs["full"] and ours["sampled"] == theirs["sampled"]
    assert ours["slices"]["withRepeats"]["full"]["ndcg"] > theirs["slices"]["withRepeats"]["full"]["ndcg"] + 0.1
