"""The simplex: weights that are positive and sum to one."""

from collections.abc import Sequence

import torch
from torch import Tensor

SMALLEST = 1e-5
"""Weights are kept above this before they are normalised, so that none is lost for ever."""


def onto_simplex(weights: Tensor, segments: Sequence[int] | None = None) -> Tensor:
    """Clamp from below, then divide by the sum: in this order the sums are exactly one.

    Args:
        weights: (…, O); NaN stays NaN.
        segments: Lengths of the simplices that stand side by side in the last dimension; none
            for a single one.
    """
    parts = torch.split(weights, list(segments), dim=-1) if segments else (weights,)
    clamped = [part.clamp_min(SMALLEST) for part in parts]
    return torch.cat([part / part.sum(dim=-1, keepdim=True) for part in clamped], dim=-1)
