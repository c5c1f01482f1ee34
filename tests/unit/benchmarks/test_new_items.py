"""The measurement of what new items get hides items as it says."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.new_items import by_popularity, hide, measure


def test_hides_items_and_tests_on_the_people_who_have_enough_others() -> None:
    people, items = 10, 40
    rows = [(user, item, 1000 + item) for user in range(people) for item in range(items) if (user + item) % 3]
    rows += [(99, 0, 5), (99, 1, 5)]
    catalogue = {item: {"title": f"Item {item}", "category": f"c{item % 4}"} for item in range(items)}
    users, wanted_items, times = (list(column) for column in zip(*rows, strict=True))
    dataset, hidden = hide((users, wanted_items, times), catalogue)
    assert hidden.size == 2 and not dataset.popularity[hidden].any() and (dataset.popularity > 0).sum() == items - 2
    assert set(dataset.test.item) == set(hidden) and dataset.test.user.max() < people
    wanted = torch.zeros(dataset.users, dataset.items)
    wanted[torch.as_tensor(dataset.test.user), torch.as_tensor(dataset.test.item)] = 1.0
    many = np.arange(items)
    assert measure(dataset, many, lambda users: wanted[users]) == ("1.000", "1.000 ± 0.000")
    assert by_popularity(dataset, "category=").shape == (items,)
