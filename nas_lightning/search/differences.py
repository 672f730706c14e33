"""Finite differences along a direction in the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from nas_lightning.search.bilevel import BilevelProblem

TINY = 1e-12
"""Norms below this count as zero: there is no direction to step in."""


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """Norm of all tensors together ()."""
    total: Tensor = torch.linalg.vector_norm(torch.cat([t.flatten() for t in tensors]))
    return total


def dot(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Inner product of two lists of tensors ()."""
    return torch.stack([(a * b).sum() for a, b in zip(first, second, strict=True)]).sum()


@contextmanager
def moved(weights: Sequence[Tensor], direction: Sequence[Tensor], by: float) -> Iterator[None]:
    """Move weights along a direction for the duration; they come back bit for bit."""
    kept = [weight.detach().clone() for weight in weights]
    try:
        with torch.no_grad():
            for weight, along in zip(weights, direction, strict=True):
                weight.add_(along, alpha=by)
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, kept, strict=True):
                weight.copy_(value)


def central_difference(
    problem: BilevelProblem,
    parameters: Sequence[Tensor],
    direction: Sequence[Tensor],
    epsilon: float,
) -> tuple[Tensor, ...]:
    """Derivative along `direction` in w of the inner loss's gradient by `parameters`.

    Two forward and backward passes, at w ± e · direction with e = epsilon / |direction| (the
    rule of DARTS' released code). It is exact on quadratics.
    """
    size = float(norm(direction))
    if size < TINY:
        return tuple(torch.zeros_like(parameter) for parameter in parameters)
    step = epsilon / size
    weights = list(problem.weights.values())
    with moved(weights, direction, step):
        above = problem.grad(problem.inner(), parameters)
    with moved(weights, direction, -step):
        below = problem.grad(problem.inner(), parameters)
    return tuple((a - b) / (2 * step) for a, b in zip(above, below, strict=True))
