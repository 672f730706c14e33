"""The distance between the outputs of the two networks of CDARTS."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Distance = Literal["kl", "cosine", "mse", "smooth_l1"]
Join = Literal["stack", "sum"]
SMALLEST = 1e-6
"""Smallest product of norms that a cosine is divided by."""


def distance(kind: Distance, search: Tensor, evaluation: Tensor, temperature: float) -> Tensor:
    """Return the distance () between two logits (B, classes), differentiable in both.

    Args:
        kind: `kl` is the divergence from softmax(evaluation / T) to softmax(search / T), a mean
            over samples and classes. `cosine` is 1 minus the mean cosine of the samples. `mse` is
            the mean squared difference, and `smooth_l1` the mean of d²/2 where |d| < 1 and
            |d| - 1/2 elsewhere.
        search: Logits of the search network.
        evaluation: Logits of the evaluation network.
        temperature: T of `kl`.
    """
    if kind == "kl":
        student = (search / temperature).log_softmax(dim=1)
        teacher = (evaluation / temperature).softmax(dim=1)
        return F.kl_div(student, teacher, reduction="none").mean()
    if kind == "cosine":
        return 1 - F.cosine_similarity(search, evaluation, dim=1, eps=SMALLEST).mean()
    if kind == "mse":
        return F.mse_loss(search, evaluation)
    return F.smooth_l1_loss(search, evaluation)


def joined(logits: Sequence[Tensor], shares: Tensor, join: Join) -> Tensor:
    """Return the logits of a network's heads and classifier, weighted and joined.

    Args:
        logits: Logits (B, classes), n of them.
        shares: Numbers (n,) whose softmax weighs the logits.
        join: `stack` returns (n · B, classes), `sum` (B, classes).
    """
    weighted = [share * part for share, part in zip(shares.softmax(0), logits, strict=True)]
    return torch.cat(weighted) if join == "stack" else functools.reduce(operator.add, weighted)
