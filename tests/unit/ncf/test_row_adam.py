"""Adam for rows moves weights as torch's Adam does, which moves all of them in each step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ncf.fitting.row_adam import RowAdam, Schedule, Table

ROWS, WIDTH, RATE = 40, 3, 0.05
CPU = torch.device("cpu")


def drawn(steps: int, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the rows and the targets of each step; row 0 is used always, the last one never."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for step in range(steps):
        some = 1 + torch.randperm(ROWS - 2, generator=generator)[: 1 + step % 4]
        rows = torch.cat([torch.tensor([0]), some])
        found.append((rows, torch.randn(rows.numel(), WIDTH, generator=generator)))
    return found


def loss(weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (weight - targets).square().sum()


def densely(start: torch.Tensor, steps: list[tuple[torch.Tensor, torch.Tensor]], l2: float) -> torch.Tensor:
    weight = nn.Parameter(start.clone())
    optimizer = torch.optim.Adam([weight], lr=RATE, weight_decay=l2)
    for step, (rows, targets) in enumerate(steps):
        optimizer.param_groups[0]["lr"] = RATE * (1.0 - step / len(steps))
        optimizer.zero_grad()
        loss(weight[rows], targets).backward()
        optimizer.step()
    return weight.detach()


def by_rows(
    start: torch.Tensor, steps: list[tuple[torch.Tensor, torch.Tensor]], stop_at: int = -1, l2: float = 0.0
) -> torch.Tensor:
    weight, schedule = start.clone(), Schedule(RATE, len(steps), CPU)
    table = Table(weight, schedule, l2=l2)
    optimizer = RowAdam([table])
    for number, (rows, targets) in enumerate(steps, start=1):
        if number == stop_at:
            state = {name: tensor.clone() for name, tensor in optimizer.state_of_tables().items()}
            table = Table(weight, schedule, l2=l2)
            optimizer = RowAdam([table])
            optimizer.load_tables(state)
        optimizer.take([rows], number)
        loss(table.parameter, targets).backward()
        optimizer.step()
    optimizer.settle(len(steps) + 1)
    return weight


@pytest.mark.parametrize("steps", [1, 2, 30, 700])
def test_rows_that_wait_end_where_dense_adam_moves_them(steps: int) -> None:
    start = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(1))
    given = drawn(steps, seed=2)
    found = by_rows(start, given)
    torch.testing.assert_close(found, densely(start, given, l2=0.0), atol=2e-5, rtol=0)
    assert torch.equal(found[-1], start[-1]), "a row that no step uses stays"


def test_the_state_continues_where_it_stopped() -> None:
    start, given = torch.zeros(ROWS, WIDTH), drawn(60, seed=3)
    assert torch.equal(by_rows(start, given), by_rows(start, given, stop_at=31))


def test_settling_between_steps_moves_no_row_twice() -> None:
    start, given = torch.zeros(ROWS, WIDTH), drawn(60, seed=4)
    weight, schedule = start.clone(), Schedule(RATE, len(given), CPU)
    table = Table(weight, schedule)
    optimizer = RowAdam([table])
    for number, (rows, targets) in enumerate(given, start=1):
        optimizer.take([rows], number)
        loss(table.parameter, targets).backward()
        optimizer.step()
        optimizer.settle(number + 1)
        optimizer.settle(number + 1)
    torch.testing.assert_close(weight, densely(start, given, l2=0.0), atol=2e-5, rtol=0)


def test_a_table_that_is_used_whole_has_the_penalty_of_adam() -> None:
    start = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(5))
    given = [(torch.arange(ROWS), torch.randn(ROWS, WIDTH)) for _ in range(20)]
    torch.testing.assert_close(by_rows(start, given, l2=0.3), densely(start, given, l2=0.3), atol=2e-5, rtol=0)
