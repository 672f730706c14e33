"""The bilevel problem of one step, and the architecture gradient that DARTS takes first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from nas_lightning.distributed import mean_over_ranks


@dataclass(frozen=True)
class BilevelProblem:
    """min over α of outer(w*(α), α) subject to w*(α) = argmin over w of inner(w, α), on a batch.

    Attributes:
        inner: The inner loss (), of the weight half, at the parameters as they are.
        outer: The outer loss (), of the architecture half, at the parameters as they are.
        weights: Network weights w by name.
        arch: Architecture parameters α, β by name.
        weight_optimizer: Optimizer of the weights, for estimators that look one step ahead.
    """

    inner: Callable[[], Tensor]
    outer: Callable[[], Tensor]
    weights: Mapping[str, Tensor]
    arch: Mapping[str, Tensor]
    weight_optimizer: Optimizer | None = None

    def grad(
        self, loss: Tensor, parameters: Sequence[Tensor], retain_graph: bool = False
    ) -> tuple[Tensor, ...]:
        """The derivative of a loss, averaged over all processes.

        `torch.autograd.grad` passes DDP's hooks by, so every derivative must come through here.
        It is zero for parameters that the loss does not depend on, such as operations not drawn.
        """
        derivative = torch.autograd.grad(
            loss, list(parameters), retain_graph=retain_graph, materialize_grads=True
        )
        return mean_over_ranks(derivative)


ArchGradient = Callable[[BilevelProblem], tuple[Tensor, ...]]
"""Problem → architecture gradient, one tensor for each of `problem.arch`, in that order."""


def first_order(problem: BilevelProblem) -> tuple[Tensor, ...]:
    """The direct term d outer / dα at the present weights (DARTS, first order).

    One forward and backward pass.
    """
    return problem.grad(problem.outer(), list(problem.arch.values()))
