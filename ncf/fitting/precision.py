"""Mixed precision (Micikevicius et al., "Mixed Precision Training", 2018): matrix products in half precision.

Weights, the optimizer's state and the loss stay float32. float16 has a small range of exponents. So the loss is scaled
up before the backward pass, and the gradients are scaled down after it. A step whose gradients overflow is skipped, and
the scale is halved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor


class Optimizer(Protocol):
    """The part of an optimizer that a step uses."""

    param_groups: list[dict[str, Any]]

    def step(self) -> Any: ...


class Precision:
    """The precision of a training's steps on one device; `name` is one of `ncf.plan.PRECISIONS`."""

    def __init__(self, name: str, device: torch.device) -> None:
        self._dtype = getattr(torch, name)
        self._device = device
        self._scaler = torch.amp.GradScaler(device.type, enabled=name == "float16")  # type: ignore[attr-defined]

    def forward(self) -> torch.autocast:
        """Return the context manager in which a loss is computed."""
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)

    def step(self, loss: Tensor, optimizer: Optimizer, average: Callable[[], None] = lambda: None) -> None:
        """Run the backward pass of `loss`, `average`, and the optimizer's step.

        In float16, a step that overflows is skipped.
        """
        self._scaler.scale(loss).backward()
        average()
        self._scaler.step(optimizer)  # type: ignore[arg-type]  # the scaler uses this part alone
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        """Return the state for `load_state`, as JSON values."""
        return dict(self._scaler.state_dict())

    def load_state(self, state: Mapping[str, Any]) -> None:
        if state:
            self._scaler.load_state_dict(dict(state))
