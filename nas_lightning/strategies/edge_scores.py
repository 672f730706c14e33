"""Scores of edges: how much they matter, how certain their operation is, how stable it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = 1e-12
"""Difference of scores below which they count as equal: rounding must not decide."""


class EdgeScores(NamedTuple):
    """Scores of the edges of a cell, in float64 on the CPU.

    Attributes:
        importance: (E,).
        certainty: (E,).
        shares: Distribution over the operations that a genotype may contain (E, O').
    """

    importance: Tensor
    certainty: Tensor
    shares: Tensor


def edge_scores(alpha: Tensor, kept: Tensor, columns: Sequence[int]) -> EdgeScores:
    """Compute importance and certainty of edges as in SGAS.

    p is the softmax of α over the operations that run. The importance of an edge is the sum of p
    over the operations that a genotype may contain, and q is p over these, normalised. The
    certainty is 1 - H(q) / log n, where H is the entropy and n the number of these operations. An
    edge with one of them has certainty 1.

    Args:
        alpha: (E, O).
        kept: (E, O), False for operations that do not run.
        columns: Operations that a genotype may contain.
    """
    p = alpha.detach().double().cpu().masked_fill(~kept.cpu(), -torch.inf).softmax(dim=1)
    others = [m for m in range(p.shape[1]) if m not in columns]
    # exactly 1 without others, so that equal edges stay equal
    importance = 1 - p[:, others].sum(dim=1)
    shares = p[:, list(columns)]
    shares = shares / shares.sum(dim=1, keepdim=True)
    number = kept.cpu()[:, list(columns)].sum(dim=1)
    most = number.double().clamp_min(2).log()
    certainty = torch.where(number > 1, 1 - torch.special.entr(shares).sum(dim=1) / most, 1.0)
    return EdgeScores(importance, certainty, shares)


def stability(shares: Tensor, earlier: Sequence[Tensor]) -> Tensor:
    """Return the mean intersection with earlier distributions (E,), as in SGAS.

    The intersection of two distributions is the sum of the smaller of their entries. Without
    earlier distributions the result is 0.

    Args:
        shares: Distributions (E, O').
        earlier: Distributions (E, O') of earlier epochs.
    """
    if not earlier:
        return torch.zeros(len(shares), dtype=shares.dtype)
    return torch.stack([torch.minimum(shares, one).sum(dim=1) for one in earlier]).mean(dim=0)


def normalised(values: Tensor) -> Tensor:
    """Return (x - min) / (max - min) of values (N,); ones if all are equal."""
    low, high = values.min(), values.max()
    if float(high - low) < ROUNDING:
        return torch.ones_like(values)
    return (values - low) / (high - low)
