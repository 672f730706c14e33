"""The bilevel problem of one step, and the first-order architecture gradient of DARTS."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.optim import Optimizer

from nas_lightning.distributed import mean_over_ranks


@contextmanager
def frozen(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Ask for no gradients of parameters inside the context, so that less is kept for them.

    It must last until the gradients are computed: checkpointed cells run again in that pass, and
    must keep the same tensors.

    Args:
        parameters: Leaf tensors. Those that require gradients require them again after it.
    """
    learned = [parameter for parameter in parameters if parameter.requires_grad]
    try:
        for parameter in learned:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)


@dataclass(frozen=True)
class BilevelProblem:
    """min over α of outer(w*(α), α) subject to w*(α) = argmin over w of inner(w, α), on a batch.

    Attributes:
        inner: Computes the inner loss () on the weight half, at the present parameters.
        outer: Computes the outer loss () on the architecture half, at the present parameters.
        weights: Network weights w by name.
        arch: Architecture parameters α, β by name.
        weight_optimizer: Optimizer of the weights, for estimators that look one step ahead.
        bare_inner: Computes the inner loss () without the task's regularization; `None` if there
            is none.
    """

    inner: Callable[[], Tensor]
    outer: Callable[[], Tensor]
    weights: Mapping[str, Tensor]
    arch: Mapping[str, Tensor]
    weight_optimizer: Optimizer | None = None
    bare_inner: Callable[[], Tensor] | None = None

    def without_regularization(self) -> BilevelProblem:
        """Return the problem whose inner loss lacks the task's regularization."""
        return replace(self, inner=self.bare_inner or self.inner)

    def grad(
        self, loss: Tensor, parameters: Sequence[Tensor], retain_graph: bool = False
    ) -> tuple[Tensor, ...]:
        """Return the derivative of a loss, averaged over all processes.

        Compute every derivative by this method: `torch.autograd.grad` does not call DDP's hooks.
        The derivative is zero for parameters that the loss does not depend on, such as those of
        operations that were not drawn.
        """
        derivative = (
            torch.autograd.grad(
                loss, list(parameters), retain_graph=retain_graph, materialize_grads=True
            )
            if loss.requires_grad
            else tuple(torch.zeros_like(parameter) for parameter in parameters)
        )
        return mean_over_ranks(derivative)


ArchGradient = Callable[[BilevelProblem], tuple[Tensor, ...]]
"""Problem → architecture gradient, a tensor for each parameter of `problem.arch`, in order."""


def first_order(problem: BilevelProblem) -> tuple[Tensor, ...]:
    """Return the direct term d outer / dα at the present weights (DARTS, first order).

    One forward and backward pass, which keeps nothing for gradients of the weights.
    """
    with frozen(problem.weights.values()):
        return problem.grad(problem.outer(), list(problem.arch.values()))
