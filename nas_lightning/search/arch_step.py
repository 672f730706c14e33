"""The architecture step: one step of α and β on the outer loss."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from nas_lightning.randomness import ReplayedDraws
from nas_lightning.search.bilevel import BilevelProblem, frozen
from nas_lightning.search.frozen_entries import FrozenEntries
from nas_lightning.search.losses import Losses, Pass
from nas_lightning.search.slots import ARCH_GRADIENT
from nas_lightning.search.step_context import StepContext
from nas_lightning.search.strategy import ArchStep
from nas_lightning.supernet import ArchitectureParameters
from nas_lightning.supernet.execution import UnmovedBuffers


def arch_groups(arch: ArchitectureParameters) -> list[dict[str, Any]]:
    """Return the parameter groups of the architecture optimizer, `alpha` and `beta`.

    They are ordered and named, so that a resumed state can only reach its own parameters.
    """
    return [
        {"params": list(parameters.values()), "name": name}
        for name, parameters in (("alpha", arch.alpha), ("beta", arch.beta))
        if len(parameters)
    ]


def arch_step(
    context: StepContext,
    batch: Mapping[str, Any],
    weight_optimizer: Optimizer,
    optimizer: Optimizer,
    limit: float | None,
    after: Callable[[ArchStep], None],
) -> None:
    """Step α and β.

    Args:
        context: Losses, checks and logs.
        batch: Both halves.
        weight_optimizer: Optimizer of the weights, for estimators that look one step ahead.
        optimizer: Optimizer of α and β.
        limit: Largest norm of the architecture gradient; `None` for no clipping.
        after: Called after the step, before α and β are projected.

    Raises:
        DivergedError: Loss or gradient is not finite, see `Stage.check_step`.
    """
    losses = context.losses
    half = batch[losses.outer_half]
    arch = {name: value for name, value in losses.arch.named().items() if value.requires_grad}
    with UnmovedBuffers(context.parts.buffered):
        if context.graphs is None:
            seen, gradients = _estimated(context, batch, arch, weight_optimizer)
        else:
            weights = context.parts.weights.values()
            function = functools.partial(_direct, losses, weights, list(arch.values()))
            decided = context.parts.decided(arch)
            seen, gradients = context.graphs.run("arch step", function, half, decided)
    take_arch_step(context, arch, gradients, seen.task_loss, optimizer, limit, after)
    context.report("arch", "search/arch", half, seen.output, seen.task_loss)
    if losses.outer_stream == "arch":
        losses.streams.carry("arch", seen.output)


def take_arch_step(
    context: StepContext,
    arch: Mapping[str, Tensor],
    gradients: Sequence[Tensor],
    loss: Tensor,
    optimizer: Optimizer,
    limit: float | None,
    after: Callable[[ArchStep], None],
) -> None:
    """Step α and β by gradients that are averaged over all processes.

    Args:
        context: Losses, checks and logs.
        arch: The parameters of α and β that learn, by name.
        gradients: A gradient for each of them.
        loss: Outer loss of the task (), for messages.
        optimizer: Optimizer of α and β.
        limit: Largest norm of the gradients; `None` for no clipping.
        after: Called after the step, before α and β are projected.

    Raises:
        DivergedError: Loss or gradient is not finite, see `Stage.check_step`.
    """
    before = _copies(arch)
    for value, gradient in zip(arch.values(), gradients, strict=True):
        value.grad = gradient
    with FrozenEntries(optimizer, arch, context.losses.arch.frozen()):
        kept = {name: _gradient(value).clone() for name, value in arch.items()}
        context.take("arch step", loss, optimizer, limit)
        optimizer.zero_grad()
        with torch.no_grad():
            after(ArchStep(before, _copies(arch), kept))
        # after all hooks: an additive rule may have left the domain of the relaxation
        context.losses.arch.project_()


def _gradient(value: Tensor) -> Tensor:
    """Return the gradient that a parameter holds."""
    assert value.grad is not None
    return value.grad


def _copies(arch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of the parameters, without their graph."""
    return {name: value.detach().clone() for name, value in arch.items()}


def _estimated(
    context: StepContext,
    batch: Mapping[str, Any],
    arch: Mapping[str, Tensor],
    weight_optimizer: Optimizer,
) -> tuple[Pass, tuple[Tensor, ...]]:
    """Return the first outer pass and the architecture gradient of the plan's estimator."""
    losses = context.losses
    replay = ReplayedDraws(context.device, losses.arch.generator)
    passes: list[Pass] = []

    def outer() -> Tensor:
        found = losses.outer(batch[losses.outer_half])
        passes.append(losses.detached(found))
        return found.loss

    def inner(regularized: bool = True) -> Tensor:
        return losses.inner(batch["train"], regularized=regularized).loss

    problem = BilevelProblem(
        lambda: replay(inner),
        lambda: replay(outer),
        context.parts.weights,
        arch,
        weight_optimizer,
        bare_inner=lambda: replay(functools.partial(inner, regularized=False)),
    )
    gradients = losses.plan[ARCH_GRADIENT](problem)
    return passes[0], gradients


def _direct(
    losses: Losses, weights: Iterable[Tensor], arch: Sequence[Tensor], half: Any
) -> tuple[Pass, tuple[Tensor, ...]]:
    """Return the outer pass and its first-order gradient, computed as a graph can hold it.

    For a single process: nothing is averaged.
    """
    with frozen(weights):
        found = losses.outer(half)
        gradients = torch.autograd.grad(found.loss, list(arch), materialize_grads=True)
    return losses.detached(found), gradients
