"""The weight step: one step of the supernet's weights on the inner loss."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from nas_lightning.search.losses import Losses, Pass
from nas_lightning.search.step_context import StepContext
from nas_lightning.training.optimizers import laid_out


def weight_step(
    context: StepContext,
    batch: Any,
    optimizer: Optimizer,
    limit: float | None,
    backward: Callable[[Tensor], None],
    after_backward: Callable[[], None],
) -> Any:
    """Step the weights and return the output of the supernet before the step.

    Args:
        context: Losses, checks and logs.
        batch: The weight half.
        optimizer: Optimizer of the weights.
        limit: Largest norm of the gradient; `None` for no clipping.
        backward: Backpropagates a loss, through DDP if there is any.
        after_backward: Called when the weights have their gradients.

    Raises:
        DivergedError: Loss or gradient is not finite, see `Stage.check_step`.
    """
    losses = context.losses
    optimizer.zero_grad()
    if context.graphs is None:
        found = losses.inner(batch, arch_fixed=True)
        backward(found.loss)
    else:
        weights = context.parts.weights
        learned = {name: value for name, value in weights.items() if value.requires_grad}
        function = functools.partial(_learned, losses, list(learned.values()))
        decided = context.parts.decided(learned)
        found, gradients = context.graphs.run("weight step", function, batch, decided)
        for value, gradient in zip(learned.values(), gradients, strict=True):
            value.grad = gradient
    after_backward()
    context.take("weight step", found.loss, optimizer, limit)
    context.report("weight", "search/train", batch, found.output, found.task_loss)
    return found.output


def _learned(
    losses: Losses, weights: Sequence[Tensor], batch: Any
) -> tuple[Pass, list[Tensor | None]]:
    """Return the inner pass and the gradients of the weights, computed as a graph can hold them.

    Gradients get the memory layout of their weights: optimizers are slow where the two differ.
    """
    found = losses.inner(batch, arch_fixed=True)
    gradients = torch.autograd.grad(found.loss, list(weights), allow_unused=True)
    pairs = zip(gradients, weights, strict=True)
    return losses.detached(found), [g if g is None else laid_out(g, w) for g, w in pairs]
