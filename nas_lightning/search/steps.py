"""The two steps that a search takes in each batch: one of α and β, one of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from nas_lightning.randomness import ReplayedDraws
from nas_lightning.search.bilevel import BilevelProblem
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
    replay = ReplayedDraws(module.device, module.arch.generator)
    half = module.plan[OUTER_BATCH]
    stream = "arch" if half == "val" else "weight"
    seen: list[tuple[Any, Tensor]] = []

    def outer() -> Tensor:
        output = module.supernet(module.streams.inputs(stream, batch[half]), module.arch.sample())
        loss = module.task.loss(output, batch[half])
        seen.append((module.task.detached(output), loss.detach()))
        return loss + module.plan.penalty(module.arch)

    def inner() -> Tensor:
        return module.training_loss(batch["train"])[1]

    arch = {name: value for name, value in module.arch.named().items() if value.requires_grad}
    problem = BilevelProblem(
        lambda: replay(inner), lambda: replay(outer), module.weights, arch, weight_optimizer
    )
    with UnmovedBuffers(module.buffered):
        gradients = module.plan[ARCH_GRADIENT](problem)
    before = {name: value.detach().clone() for name, value in arch.items()}
    for value, gradient in zip(arch.values(), gradients, strict=True):
        value.grad = gradient
    kept = {name: gradient.clone() for name, gradient in zip(arch, gradients, strict=True)}
    norm = module.check_step("arch step", seen[0][1], optimizer)
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
    module.streams.report(module, "arch", "search/arch", batch[half], *seen[0])
    if half == "val":
        module.streams.carry("arch", seen[0][0])


def weight_step(module: SearchModule, batch: Any, optimizer: Optimizer) -> None:
    """Step the weights.

    Args:
        module: The search.
        batch: The weight half.
        optimizer: Optimizer of the weights.

    Raises:
        DivergedError: Loss or gradient is not finite, see `Stage.check_step`.
    """
    output, loss, task_loss = module.training_loss(batch, arch_fixed=True)
    optimizer.zero_grad()
    module.manual_backward(loss)
    norm = module.check_step("weight step", loss, optimizer)
    module.clip(optimizer, module.gradient_clip, norm)
    optimizer.step()
    module.streams.report(module, "weight", "search/train", batch, output, task_loss)
    module.streams.carry("weight", output)
