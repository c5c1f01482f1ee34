"""Adam (Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015) that costs what a step uses.

Adam moves every weight in every step, also those without a gradient: their first moment m fades by β₁ and their second
moment v by β₂ a step, and they move on by what is left of m. For a table with a row for each user or item this is
nearly all that a step costs. Here a row that a step does not use waits, and what it missed is added when it is used
again. A row without a gradient in the k steps after step s has then

    m ← β₁ᵏ m,   v ← β₂ᵏ v,   w ← w - Σ_j c_{s+j} ρʲ m / (√v + ε),   j = 1 … k,   ρ = β₁ / √β₂,

where c_t = rate_t √(1 - β₂ᵗ) / (1 - β₁ᵗ) is the same for all weights. With T_s = Σ_j c_{s+j} ρʲ over all steps that are
left, the sum is T_s - ρᵏ T_{s+k}: one product a row, however long it waited. So the weights are those of Adam but for
rounding, and for the place of ε, which is added to √v before it has faded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Schedule:
    """A learning rate that falls linearly from `rate` to zero over `steps` steps, and the sums c and T of it."""

    def __init__(self, rate: float, steps: int, device: torch.device) -> None:
        first, second = BETAS
        step = torch.arange(1, steps + 1, dtype=torch.float64)
        self.rates: list[float] = (rate * (steps + 1 - step) / steps).tolist()
        moves = torch.tensor(self.rates, dtype=torch.float64) * (1 - second**step).sqrt() / (1 - first**step)  # c
        left = [0.0]
        ratio = first / second**0.5
        for move in reversed(moves.tolist()):
            left.append(ratio * (move + left[-1]))
        self.left = torch.tensor(left[::-1], dtype=torch.float64, device=device)  # [steps + 1], T
        self.fading = torch.log(torch.tensor([ratio, first, second], dtype=torch.float64, device=device))


class Table:
    """A table of weights [rows, width] with Adam's state for each row. Steps are numbered from 1.

    `take` brings rows up to date and makes a `parameter` of them; `put` moves them by its gradient.
    """

    def __init__(
        self,
        weight: Tensor,
        schedule: Schedule,
        *,
        share: float = 1.0,
        l2: float = 0.0,
        parameter: nn.Parameter | None = None,
    ) -> None:
        """`share`: the share of the schedule's rate. `l2`: the weight of the L2 penalty on the rows of a step.
        `parameter`: the parameter whose data are `weight`, if every step takes all of it.
        """
        self._whole, self._weight = weight, weight.view(weight.shape[0], -1)
        self._schedule, self._share, self._l2 = schedule, share, l2
        self._first, self._second = torch.zeros_like(self._weight), torch.zeros_like(self._weight)
        self._last = torch.zeros(weight.shape[0], dtype=torch.int64, device=weight.device)
        """[rows], the step up to which each row is up to date."""
        self._taken: tuple[Tensor | None, Tensor, Tensor] | None = None
        self._is_fixed = parameter is not None
        self.parameter = nn.Parameter(weight) if parameter is None else parameter

    def take(self, rows: Tensor | None, step: int) -> None:
        """Set `parameter` to `rows` (distinct; None: all) as they are before `step`."""
        if self._is_fixed:  # it misses no step
            self._taken = None, self._first, self._second
            return
        weight, first, second, last = (
            # On a CPU index_select takes a seventh of the time of state[rows].
            state if rows is None else state.index_select(0, rows)
            for state in (self._weight, self._first, self._second, self._last)
        )
        missed = step - 1 - last
        ratio, fading_first, fading_second = self._schedule.fading
        left = self._schedule.left
        way = ((left[last] - torch.exp(missed * ratio) * left[step - 1]) * self._share).float()[:, None]
        weight.addcdiv_(first * way, second.sqrt().add_(EPSILON), value=-1.0)
        first.mul_(torch.exp(missed * fading_first).float()[:, None])
        second.mul_(torch.exp(missed * fading_second).float()[:, None])
        self._taken = rows, first, second
        if rows is None:
            self._last.fill_(step - 1)
        self.parameter = nn.Parameter(self._whole if rows is None else weight)

    def put(self, step: int) -> None:
        """Make Adam's step with the gradient of `parameter`, and store the rows."""
        assert self._taken is not None, "rows are taken first"
        rows, first, second = self._taken
        weight, gradient = self.parameter.data.view_as(first), self.parameter.grad
        assert gradient is not None, "every table has a gradient"
        gradient = gradient.view_as(first)
        if self._l2:
            gradient = gradient.add(weight, alpha=self._l2)
        beta_first, beta_second = BETAS
        first.lerp_(gradient, 1 - beta_first)
        second.mul_(beta_second).addcmul_(gradient, gradient, value=1 - beta_second)
        size = self._schedule.rates[step - 1] * self._share / (1 - beta_first**step)
        weight.addcdiv_(first, (second / (1 - beta_second**step)).sqrt_().add_(EPSILON), value=-size)
        if rows is None:
            self._last.fill_(step)
            return
        for state, value in ((self._weight, weight), (self._first, first), (self._second, second)):
            state.index_copy_(0, rows, value)
        self._last.index_fill_(0, rows, step)

    def state(self) -> dict[str, Tensor]:
        return {"first": self._first, "second": self._second, "last": self._last}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        for own, given in ((self._first, "first"), (self._second, "second"), (self._last, "last")):
            own.copy_(state[given])


class RowAdam:
    """Adam over `tables`, each with the rows that `take` has taken of it.

    It has what torch's GradScaler uses of an optimizer. It is no `torch.optim.Optimizer`, whose first use imports
    torch's compiler: over a second of processor time.
    """

    def __init__(self, tables: Iterable[Table]) -> None:
        self._tables = list(tables)
        self.param_groups: list[dict[str, Any]] = [{"params": [table.parameter for table in self._tables]}]
        self._number = 0

    def take(self, rows: Iterable[Tensor | None], number: int) -> None:
        """Take `rows` of each table for step `number`, from 1."""
        self._number = number
        for table, own in zip(self._tables, rows, strict=True):
            table.take(own, number)
            table.parameter.grad = None
        self.param_groups[0]["params"] = [table.parameter for table in self._tables]

    def step(self) -> None:
        for table in self._tables:
            table.put(self._number)

    def settle(self, number: int) -> None:
        """Bring all rows up to date before step `number`."""
        self.take([None] * len(self._tables), number)

    def state_of_tables(self) -> dict[str, Tensor]:
        """Return the state of all tables, for `load_tables`."""
        return {f"{n}.{name}": tensor for n, table in enumerate(self._tables) for name, tensor in table.state().items()}

    def load_tables(self, state: Mapping[str, Tensor]) -> None:
        for n, table in enumerate(self._tables):
            table.load_state({name: state[f"{n}.{name}"] for name in table.state()})
