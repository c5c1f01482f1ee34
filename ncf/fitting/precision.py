"""Mixed precision (Micikevicius et al., "Mixed Precision Training", 2018): products in half precision, all else whole.

Weights, the optimizer's state and the loss stay float32. float16 has few exponents, so there the loss is scaled up
before the backward pass and the gradients down after it; a step whose gradients overflow is left out and the scale
halved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Precision:
    """How the steps of one training are computed on one device; `name` is one of `ncf.plan.PRECISIONS`."""

    def __init__(self, name: str, device: torch.device) -> None:
        self._dtype = getattr(torch, name)
        self._device = device
        self._scaler = torch.amp.GradScaler(device.type, enabled=name == "float16")  # type: ignore[attr-defined]

    def forward(self) -> torch.autocast:
        """The context in which a loss is computed."""
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)

    def step(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Take the step that `loss` asks for, if its gradients are finite or nothing is scaled."""
        self._scaler.scale(loss).backward()
        self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        """What `load_state` goes on from; JSON."""
        return dict(self._scaler.state_dict())

    def load_state(self, state: Mapping[str, Any]) -> None:
        if state:
            self._scaler.load_state_dict(dict(state))
