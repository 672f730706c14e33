"""The simplex: weights that are positive and sum to one."""

from collections.abc import Sequence

import torch
from torch import Tensor

SMALLEST = 1e-5
"""Lower bound of weights before they are normalised, so that no weight vanishes for good."""


def onto_simplex(weights: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
    """Clamp weights from below, then divide by their sum; in this order the sums are exactly one.

    Args:
        weights: (…, O). NaN stays NaN.
        lengths: Lengths of the simplices that are side by side in the last dimension; `None` means
            a single one.
    """
    simplices = torch.split(weights, list(lengths), dim=-1) if lengths else (weights,)
    clamped = [simplex.clamp_min(SMALLEST) for simplex in simplices]
    return torch.cat([simplex / simplex.sum(dim=-1, keepdim=True) for simplex in clamped], dim=-1)
