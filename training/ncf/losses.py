"""The objective of He et al. 2017, equation (7): binary cross-entropy of interactions against sampled negatives."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of -(y log σ(x) + (1-y) log(1-σ(x))) over logits x and labels y of one shape; stable for any finite x."""
    return F.binary_cross_entropy_with_logits(logits, labels)
