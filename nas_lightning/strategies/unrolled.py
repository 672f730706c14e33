"""The architecture gradient through an unrolled weight step (DARTS, second order)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.ranges import POSITIVE, check
from nas_lightning.search import ARCH_GRADIENT, BilevelProblem, SearchPlan, SearchStrategy
from nas_lightning.search.differences import central_difference, moved, norm


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


def clipping(gradients: Sequence[Tensor], limit: float) -> Tensor:
    """Return the factor () that brings gradients to the norm `limit`; it is not bounded by 1."""
    return limit / (norm(gradients) + 1e-6)


def scaled(gradients: Sequence[Tensor], factor: Tensor) -> list[Tensor]:
    """Return the gradients times a factor (), or times 1 if it is larger."""
    return [gradient * factor.clamp(max=1) for gradient in gradients]


def unrolled_gradient(
    problem: BilevelProblem,
    epsilon: float = 0.01,
    clip: float | None = None,
    unbounded: bool = False,
) -> tuple[Tensor, ...]:
    """Compute d outer(w - ξ d(w, α), α) / dα, where d is the SGD direction and ξ its rate.

    These are equations 6 to 8 of DARTS: the direct term at w' = w - ξ d minus ξ times the mixed
    second derivative along v = d outer / dw', by a central difference. With `clip` see `Unrolled`.

    Args:
        problem: Inner and outer loss, and the weight optimizer.
        epsilon: Length of the finite-difference step in w.
        clip: Largest norm of the inner gradient in d, and of v; `None` for no clipping.
        unbounded: Do not bound the factor of the implicit term by 1.
    """
    arch, weights = list(problem.arch.values()), list(problem.weights.values())
    slope: Sequence[Tensor] = problem.grad(problem.inner(), weights)
    factor = None if clip is None else clipping(slope, clip)
    if factor is not None:
        slope = scaled(slope, factor)
    direction, rate = sgd_direction(problem, slope)
    with moved(weights, direction, -rate):
        ahead = problem.grad(problem.outer(), [*arch, *weights])
    direct, v = ahead[: len(arch)], list(ahead[len(arch) :])
    if clip is None or factor is None:
        implicit = central_difference(problem, arch, v, epsilon)
        return tuple(d - rate * i for d, i in zip(direct, implicit, strict=True))
    implicit = central_difference(problem, arch, scaled(v, clipping(v, clip)), epsilon)
    step = rate * (factor if unbounded else factor.clamp(max=1))
    return tuple(d - step * i for d, i in zip(direct, implicit, strict=True))


@final
class Unrolled(SearchStrategy):
    """Take the architecture gradient through one unrolled weight step (DARTS, second order).

    The step includes momentum and weight decay, as in the released code. Fills: architecture
    gradient. Cost: 4 forward and backward passes per architecture step instead of 1. Computed in
    full precision at any precision of the trainer. `search/arch_accuracy` is the accuracy after the
    unrolled step.

    The released code for recurrent cells also clips, and leaves the regularization out of its inner
    loss. With the inner gradient g, the step then takes c g with c = min(1, clip / |g|), v is
    clipped in the same way, and the implicit term is multiplied by c, which counts as a constant.

    Args:
        epsilon: Length of the finite-difference step in w; 0.01 as in the released code.
        clip: Largest norm of g in the step and of v; `None` for no clipping, as in the released
            code for images. In the code for recurrent cells it is the clip of the weights.
        unbounded: Multiply the implicit term by clip / |g| also where this is above 1 and g is not
            clipped. The released code for recurrent cells does so; the result is then larger than
            the derivative.
        regularization: Include the task's regularization, such as `slowness`, in the inner loss.

    Raises:
        UsageError: `epsilon` or `clip` is not positive, or `unbounded` is set without `clip`.
    """

    def __init__(
        self,
        epsilon: float = 0.01,
        clip: float | None = None,
        unbounded: bool = False,
        regularization: bool = True,
    ) -> None:
        self.epsilon = epsilon
        self.clip = clip
        self.unbounded = unbounded
        self.regularization = regularization
        check(self, epsilon=POSITIVE, clip=POSITIVE)
        if unbounded and clip is None:
            raise UsageError("Unrolled: unbounded needs clip: set both or neither")

    def configure(self, plan: SearchPlan) -> None:
        """Fill the architecture gradient."""
        plan.fill(ARCH_GRADIENT, self.unrolled, by=self)

    def unrolled(self, problem: BilevelProblem) -> tuple[Tensor, ...]:
        """Compute the gradient through the step, in full precision."""
        device = next(iter(problem.weights.values())).device.type
        with torch.autocast(device, enabled=False):
            chosen = problem if self.regularization else problem.without_regularization()
            return unrolled_gradient(chosen, self.epsilon, self.clip, self.unbounded)
