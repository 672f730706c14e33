"""The two steps that a search takes in each batch: one of α and β, one of the weights."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from nas_lightning.randomness import ReplayedDraws
from nas_lightning.search.bilevel import BilevelProblem
from nas_lightning.search.passes import decided
from nas_lightning.search.plan import ARCH_GRADIENT, OUTER_BATCH
from nas_lightning.search.strategy import ArchStep
from nas_lightning.supernet.execution import UnmovedBuffers

if TYPE_CHECKING:
    from nas_lightning.search.module import SearchModule


def arch_step(
    module: SearchModule,
    batch: Mapping[str, Any],
    weight_optimizer: Optimizer,
    optimizer: Optimizer,
) -> None:
    """Step α and β.

    Args:
        module: The search.
        batch: Both halves.
        weight_optimizer: Optimizer of the weights, for estimators that look ahead.
        optimizer: Optimizer of α and β.

    Raises:
        DivergedError: Loss or gradient is not finite, see `Stage.check_step`.
    """
    half = module.plan[OUTER_BATCH]
    stream = "arch" if half == "val" else "weight"
    arch = {name: value for name, value in module.arch.named().items() if value.requires_grad}
    with UnmovedBuffers(module.buffered):
        if module.graphs is None:
            seen, gradients = _estimated(module, stream, batch, arch, weight_optimizer)
        else:
            function = functools.partial(_direct, module, stream, list(arch.values()))
            seen, gradients = module.graphs.run(
                "arch step", function, batch[half], decided(module, arch)
            )
    before = {name: value.detach().clone() for name, value in arch.items()}
    for value, gradient in zip(arch.values(), gradients, strict=True):
        value.grad = gradient
    kept = {name: gradient.clone() for name, gradient in zip(arch, gradients, strict=True)}
    norm = module.check_step("arch step", seen[1], optimizer)
    module.clip(optimizer, module.arch_gradient_clip, norm)
    optimizer.step()
    optimizer.zero_grad()
    after = {name: value.detach().clone() for name, value in arch.items()}
    step = ArchStep(before, after, kept)
    with torch.no_grad():
        for strategy in module.strategies:
            strategy.on_after_arch_step(module, step)
    # behind all hooks: an additive rule may have left the domain of the relaxation
    module.arch.project_()
    module.streams.report(module, "arch", "search/arch", batch[half], *seen)
    if half == "val":
        module.streams.carry("arch", seen[0])


Seen = tuple[Any, Tensor]
"""Output and loss () of a pass, without their graph."""


def _outer(module: SearchModule, stream: str, batch: Any) -> tuple[Seen, Tensor]:
    """What a pass of the architecture half sees, and the outer loss ()."""
    output = module.supernet(module.streams.inputs(stream, batch), module.arch.sample())
    loss = module.task.loss(output, batch)
    seen = module.task.detached(output), loss.detach()
    return seen, loss + module.plan.penalty(module.arch)


def _estimated(
    module: SearchModule,
    stream: str,
    batch: Mapping[str, Any],
    arch: Mapping[str, Tensor],
    weight_optimizer: Optimizer,
) -> tuple[Seen, tuple[Tensor, ...]]:
    """What the first pass saw, and the architecture gradient, by the method's estimator."""
    replay = ReplayedDraws(module.device, module.arch.generator)
    passes: list[Seen] = []

    def outer() -> Tensor:
        seen, loss = _outer(module, stream, batch[module.plan[OUTER_BATCH]])
        passes.append(seen)
        return loss

    def inner() -> Tensor:
        return module.training_loss(batch["train"])[1]

    problem = BilevelProblem(
        lambda: replay(inner), lambda: replay(outer), module.weights, arch, weight_optimizer
    )
    gradients = module.plan[ARCH_GRADIENT](problem)
    return passes[0], gradients


def _direct(
    module: SearchModule, stream: str, arch: Sequence[Tensor], batch: Any
) -> tuple[Seen, tuple[Tensor, ...]]:
    """The same of one process by `first_order`, with nothing that a graph cannot hold."""
    seen, loss = _outer(module, stream, batch)
    return seen, torch.autograd.grad(loss, list(arch), materialize_grads=True)


def _learned(
    module: SearchModule, weights: Sequence[Tensor], batch: Any
) -> tuple[tuple[Any, Tensor, Tensor], list[Tensor | None]]:
    """Output, inner loss () and the task's own loss (), and gradients of the weights.

    Gradients lie in memory as their weights do: optimizers are slow where the two differ.
    """
    output, loss, task_loss = module.training_loss(batch, arch_fixed=True)
    found = torch.autograd.grad(loss, list(weights), allow_unused=True)
    gradients = [_laid_out(g, weight) for g, weight in zip(found, weights, strict=True)]
    return (module.task.detached(output), loss.detach(), task_loss.detach()), gradients


def _laid_out(gradient: Tensor | None, weight: Tensor) -> Tensor | None:
    """A gradient as its weight lies in memory."""
    if gradient is None or gradient.stride() == weight.stride():
        return gradient
    return torch.empty_like(weight).copy_(gradient)


def weight_step(module: SearchModule, batch: Any, optimizer: Optimizer) -> None:
    """Step the weights.

    Args:
        module: The search.
        batch: The weight half.
        optimizer: Optimizer of the weights.

    Raises:
        DivergedError: Loss or gradient is not finite, see `Stage.check_step`.
    """
    optimizer.zero_grad()
    if module.graphs is None:
        output, loss, task_loss = module.training_loss(batch, arch_fixed=True)
        module.manual_backward(loss)
    else:
        learned = {name: value for name, value in module.weights.items() if value.requires_grad}
        function = functools.partial(_learned, module, list(learned.values()))
        (output, loss, task_loss), gradients = module.graphs.run(
            "weight step", function, batch, decided(module, learned)
        )
        for value, gradient in zip(learned.values(), gradients, strict=True):
            value.grad = gradient
    norm = module.check_step("weight step", loss, optimizer)
    module.clip(optimizer, module.gradient_clip, norm)
    optimizer.step()
    module.streams.report(module, "weight", "search/train", batch, output, task_loss)
    module.streams.carry("weight", output)
