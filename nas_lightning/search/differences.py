"""Second derivatives along a direction in the weights, and sums of direct and implicit terms."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from nas_lightning.search.bilevel import BilevelProblem

TINY = 1e-12
"""Norms below this count as zero, because they give no direction to step in."""


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the norm of all tensors together ()."""
    total: Tensor = torch.linalg.vector_norm(torch.cat([t.flatten() for t in tensors]))
    return total


def dot(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return the inner product of two lists of tensors ()."""
    return torch.stack([(a * b).sum() for a, b in zip(first, second, strict=True)]).sum()


@contextmanager
def moved(weights: Sequence[Tensor], direction: Sequence[Tensor], by: float) -> Iterator[None]:
    """Move weights along a direction inside the context, and restore them bit for bit after it."""
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
    """Return the derivative along `direction` in w of the inner loss's gradient by `parameters`.

    Two forward and backward passes, at w ± e · direction with e = epsilon / |direction| (the
    rule of DARTS' released code). It is exact for quadratics.
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


Product = Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[Tensor, ...]]
"""Parameters, direction in w → derivative along it of the inner loss's gradient by them."""


def second_derivative(problem: BilevelProblem, exact: bool, epsilon: float) -> Product:
    """Return products with H = d² inner / dw² and B = d² inner / dα dw at the present weights.

    Args:
        problem: The inner loss.
        exact: Use double backward: one forward and backward pass now, one backward pass for each
            product, and the memory of a graph of gradients. Otherwise use `central_difference`.
        epsilon: Length of the finite-difference steps in w.
    """
    if not exact:
        return functools.partial(central_difference, problem, epsilon=epsilon)
    weights = list(problem.weights.values())
    slope = torch.autograd.grad(problem.inner(), weights, create_graph=True, materialize_grads=True)

    def product(parameters: Sequence[Tensor], direction: Sequence[Tensor]) -> tuple[Tensor, ...]:
        # `slope` is that of this process: `problem.grad` takes the mean, which is linear
        return problem.grad(dot(slope, direction), parameters, retain_graph=True)

    return product


@dataclass(frozen=True)
class TwoTerms:
    """An architecture gradient, and a comparison of its direct and its implicit term.

    Attributes:
        gradient: Sum of the terms, one tensor for each architecture parameter.
        cosine: Cosine of the two terms (); 0 if one of them vanishes.
        ratio: Norm of the implicit term over the norm of the direct term, before clipping ().
        clipped: 1 if the implicit term was clipped, else 0 ().
    """

    gradient: tuple[Tensor, ...]
    cosine: Tensor
    ratio: Tensor
    clipped: Tensor


def two_terms(direct: Sequence[Tensor], implicit: Sequence[Tensor], clip: float | None) -> TwoTerms:
    """Add an implicit term to the direct one.

    Args:
        direct: d outer / dα.
        implicit: An estimate of the implicit term.
        clip: Largest norm of the implicit term in units of |direct|; `None` for no clipping.
    """
    size, reference = norm(implicit), norm(direct)
    cosine = dot(direct, implicit) / (size * reference).clamp_min(TINY)
    ratio = size / reference.clamp_min(TINY)
    scale = torch.ones_like(ratio) if clip is None else (clip / ratio.clamp_min(TINY)).clamp_max(1)
    gradient = tuple(d + scale * i for d, i in zip(direct, implicit, strict=True))
    return TwoTerms(gradient, cosine, ratio, (scale < 1).to(scale))
