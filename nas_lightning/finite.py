"""Whether the loss and the gradients of a step are finite, before its optimizer takes it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from nas_lightning.distributed import mean_over_ranks
from nas_lightning.errors import DivergedError

SHOWN = 3
"""How many broken tensors a message names."""


def check_finite(
    module: LightningModule, step: str, loss: Tensor, optimizer: Optimizer, scaled: bool = False
) -> None:
    """Check a step whose gradients are made and, with several processes, averaged.

    All processes come to the same verdict. It takes one look at all gradients and waits once for
    the device; only a broken step is looked at closely.

    Args:
        module: What is trained, in a trainer.
        step: What the step is called in the message.
        loss: The loss () of this process.
        optimizer: What is about to step.
        scaled: Whether a gradient scaler watches the gradients; it skips infinite ones by itself.

    Raises:
        DivergedError: Something is not finite; says where and what.
    """
    (mean,) = mean_over_ranks([loss.detach()])
    gradients = [] if scaled else [gradient for _, gradient in _gradients(optimizer)]
    # the largest entry: a sum of squares may overflow where every entry is finite
    largest = get_total_norm(gradients, math.inf)
    if bool(torch.isfinite(largest + mean)):
        return
    trainer = module.trainer
    raise DivergedError(
        f"epoch {trainer.current_epoch}, batch {trainer.fit_loop.batch_idx} "
        f"(step {trainer.global_step}): loss of the {step} {float(mean):g}, "
        f"{_verdict(module, optimizer)}, learning rate {optimizer.param_groups[0]['lr']:g}"
    )


def _gradients(optimizer: Optimizer) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Parameters with their gradients, without those that have none."""
    for group in optimizer.param_groups:
        yield from ((value, value.grad) for value in group["params"] if value.grad is not None)


def _verdict(module: LightningModule, optimizer: Optimizer) -> str:
    """What of the gradients is not finite, with the first names."""
    names = {value: name for name, value in module.named_parameters()}
    broken = [
        f"{names[value]} ({_count(gradient)})"
        for value, gradient in _gradients(optimizer)
        if not bool(gradient.isfinite().all())
    ]
    if not broken:
        return "all gradients finite"
    more = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
    return f"gradient not finite in {', '.join(broken[:SHOWN])}{more}"


def _count(gradient: Tensor) -> str:
    """`2 nan, 1 inf of 27`."""
    found = {"nan": int(gradient.isnan().sum()), "inf": int(gradient.isinf().sum())}
    listed = ", ".join(f"{number} {kind}" for kind, number in found.items() if number)
    return f"{listed} of {gradient.numel()}"
