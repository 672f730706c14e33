"""Architecture gradients that lead to flat minima in α (A²M)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.ranges import NOT_NEGATIVE, POSITIVE, check
from nas_lightning.search import (
    ARCH_GRADIENT,
    ArchGradient,
    BilevelProblem,
    SearchPlan,
    SearchStrategy,
)
from nas_lightning.search.differences import moved


def flat_gradient(
    estimate: ArchGradient, problem: BilevelProblem, rho: float, epsilon: float
) -> tuple[Tensor, ...]:
    """Compute g̃ + ρ H g̃ with g̃ the gradient at α̃ = α + ρ g, g that at α, and H at α̃.

    H g̃ is the central difference of gradients at α̃ ± ε g̃. It is exact for quadratics. All four
    gradients use the same weights, the same batch and the same draws. α is restored bit for bit.

    Args:
        estimate: Computes a gradient by α and β, as `g` stands for.
        problem: Inner and outer loss.
        rho: ρ.
        epsilon: ε.
    """
    arch = list(problem.arch.values())
    with moved(arch, estimate(problem), rho):
        ahead = estimate(problem)
        with moved(arch, ahead, epsilon):
            above = estimate(problem)
        with moved(arch, ahead, -epsilon):
            below = estimate(problem)
    scale = rho / (2 * epsilon)
    return tuple(g + scale * (a - b) for g, a, b in zip(ahead, above, below, strict=True))


@final
class A2M(SearchStrategy):
    """Step α towards flat minima of the outer loss (A²M: Gambella et al., 2025).

    The step takes the gradient of the outer loss at α + ρ ∇L(α), not at α. This is sharpness-aware
    minimization in α, except that the ascent is not normalised and that its own derivative counts:
    the direction is g̃ + ρ H g̃, see `flat_gradient`. `search/arch_loss` is the loss at α. Wraps:
    architecture gradient, whichever estimator computes it. Cost: 4 architecture gradients instead
    of 1. Computed in full precision at any precision of the trainer.

    Args:
        rho: ρ, the length of the ascent in units of the gradient; 0 changes nothing. The released
            scripts take 0.01 in NAS-Bench-201, 0.1 in the space of DARTS and 1e-6 with BetaDecay.
        epsilon: ε, the length of the finite-difference steps in units of the gradient.

    Raises:
        UsageError: `rho` is negative or `epsilon` is not positive.
    """

    differentiates_alpha_twice = True

    def __init__(self, rho: float = 0.01, epsilon: float = 0.01) -> None:
        self.rho = rho
        self.epsilon = epsilon
        check(self, rho=NOT_NEGATIVE, epsilon=POSITIVE)

    def configure(self, plan: SearchPlan) -> None:
        """Wrap the architecture gradient.

        Raises:
            UsageError: Another strategy does not allow α to be moved within a step, or looks at the
                gradient before this one.
        """
        for other in plan.strategies:
            if other.holds_alpha:
                raise UsageError(
                    f"conflicting strategies: A2M moves α within a step, {type(other).__name__} "
                    f"{other.holds_alpha}; keep one of them"
                )
        for other in plan.strategies[: plan.strategies.index(self)]:
            if other.differentiates_alpha_twice:
                name = type(other).__name__
                raise UsageError(
                    f"conflicting strategies: {name} would watch another α than that of A2M: list "
                    f"A2M before {name}"
                )
        if self.rho:
            plan.wrap(ARCH_GRADIENT, self.flat, by=self)

    def flat(self, estimate: ArchGradient) -> ArchGradient:
        """Return a gradient towards flat minima, made of four of `estimate`."""

        def flat_estimate(problem: BilevelProblem) -> tuple[Tensor, ...]:
            device = next(iter(problem.weights.values())).device.type
            with torch.autocast(device, enabled=False):
                return flat_gradient(estimate, problem, self.rho, self.epsilon)

        return flat_estimate
