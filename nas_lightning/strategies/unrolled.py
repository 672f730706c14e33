"""The architecture gradient through an unrolled weight step (DARTS, second order)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.ranges import POSITIVE, check
from nas_lightning.search import ARCH_GRADIENT, BilevelProblem, SearchPlan, SearchStrategy
from nas_lightning.search.differences import central_difference, moved


def sgd_direction(
    problem: BilevelProblem, gradients: Sequence[Tensor]
) -> tuple[list[Tensor], float]:
    """Return the direction d in which SGD would step the weights, and its learning rate.

    d = μ m + gradient + λ w, with momentum buffer m (zero before the first step) and weight
    decay λ. The step would subtract the learning rate times d.

    Raises:
        UsageError: The weight optimizer is not SGD, or has dampening or Nesterov momentum.
    """
    optimizer = problem.weight_optimizer
    group = optimizer.param_groups[0] if optimizer is not None else {}
    if optimizer is None or "momentum" not in group or group["dampening"] or group["nesterov"]:
        raise UsageError(
            "Unrolled needs a step of plain SGD: set weight_optimizer to torch.optim.SGD without "
            "dampening and nesterov"
        )
    direction = []
    for weight, gradient in zip(problem.weights.values(), gradients, strict=True):
        buffer = optimizer.state.get(weight, {}).get("momentum_buffer")
        step = gradient + group["weight_decay"] * weight.detach()
        direction.append(step if buffer is None else step + group["momentum"] * buffer)
    return direction, float(group["lr"])


def unrolled_gradient(problem: BilevelProblem, epsilon: float = 0.01) -> tuple[Tensor, ...]:
    """Compute d outer(w - ξ d(w, α), α) / dα, where d is the SGD direction and ξ its rate.

    These are equations 6 to 8 of DARTS: the direct term at w' = w - ξ d minus ξ times the mixed
    second derivative along v = d outer / dw', by a central difference.

    Args:
        problem: Inner and outer loss, and the weight optimizer.
        epsilon: Length of the finite-difference step in w.
    """
    arch, weights = list(problem.arch.values()), list(problem.weights.values())
    direction, rate = sgd_direction(problem, problem.grad(problem.inner(), weights))
    with moved(weights, direction, -rate):
        ahead = problem.grad(problem.outer(), [*arch, *weights])
    direct, v = ahead[: len(arch)], ahead[len(arch) :]
    implicit = central_difference(problem, arch, v, epsilon)
    return tuple(d - rate * i for d, i in zip(direct, implicit, strict=True))


@final
class Unrolled(SearchStrategy):
    """Take the architecture gradient through one unrolled weight step (DARTS, second order).

    The step includes momentum and weight decay, as in the released code, but no gradient clipping.
    Fills: architecture gradient. Cost: 4 forward and backward passes per architecture step instead
    of 1. Computed in full precision at any precision of the trainer. `search/arch_accuracy` is the
    accuracy after the unrolled step.

    Args:
        epsilon: Length of the finite-difference step in w; 0.01 as in the released code.

    Raises:
        UsageError: `epsilon` is not positive.
    """

    def __init__(self, epsilon: float = 0.01) -> None:
        self.epsilon = epsilon
        check(self, epsilon=POSITIVE)

    def configure(self, plan: SearchPlan) -> None:
        """Fill the architecture gradient."""
        plan.fill(ARCH_GRADIENT, self.unrolled, by=self)

    def unrolled(self, problem: BilevelProblem) -> tuple[Tensor, ...]:
        """Compute the gradient through the step, in full precision."""
        device = next(iter(problem.weights.values())).device.type
        with torch.autocast(device, enabled=False):
            return unrolled_gradient(problem, self.epsilon)
