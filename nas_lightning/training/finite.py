"""Checks that the loss and the gradients of every step are finite.

On a CPU the check finishes before the optimizer steps. A GPU runs asynchronously and would idle if
the host waited for it in every step. There the result is read a few steps later, and always before
a checkpoint is written.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from nas_lightning.distributed import gather_from_ranks, mean_over_ranks
from nas_lightning.errors import DivergedError
from nas_lightning.training.epochs import place
from nas_lightning.training.soundness import count, tensors

SHOWN = 3
"""Largest number of tensors that a message names."""
LAG = 4
"""Number of checks after which a device's result is read: two batches of a search."""

Arrival = Callable[[], Tensor]
"""A function that waits for values on their way to the host and returns them."""


def sent_to_host(values: Tensor) -> Arrival:
    """Start to copy values from a CUDA device to the host, without waiting for them."""
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call] # torch
    copied.record()

    def arrived() -> Tensor:
        copied.synchronize()
        return host

    return arrived


@dataclass(frozen=True)
class _Step:
    """A step whose result has not been read yet.

    Attributes:
        place: Epoch, batch and step.
        name: Name of the step.
        rate: Learning rate of the step.
        values: Function that returns the loss, the norm of the gradients and a number that is not
            finite if a number of the batch is not (3,).
    """

    place: str
    name: str
    rate: float
    values: Arrival

    def read(self) -> None:
        loss, norm, batch = self.values().tolist()
        if not math.isfinite(loss + norm):
            found = "" if math.isfinite(batch) else "the batch has values that are not finite"
            data = next(filter(None, gather_from_ranks(found)), "")
            raise DivergedError(
                f"{self.place}: {data and f'{data}; '}loss of the {self.name} {loss:g}, norm of "
                f"its gradients {norm:g}, learning rate {self.rate:g}",
                taken=True,
                data=data,
            )


class FiniteSteps:
    """Checks the steps of a run, without waiting for a CUDA device.

    On a CUDA device the result of a step is read `lag` checks later. The number is fixed, so that
    all processes stop at the same step and a repeated run ends at the same place.

    Args:
        send: Starts to copy values to the host. By default `sent_to_host` for values on a CUDA
            device; all other values are read at once.
        lag: Number of checks after which a value that was sent is read.
    """

    def __init__(self, send: Callable[[Tensor], Arrival] | None = None, lag: int = LAG) -> None:
        self._send = send
        self._lag = lag
        self._pending: deque[_Step] = deque()
        self.batch: Any = None
        """The present batch, or `None` if it is unknown."""

    def check(
        self,
        module: LightningModule,
        step: str,
        loss: Tensor,
        optimizer: Optimizer,
        scaled: bool = False,
        at_once: bool = False,
    ) -> Tensor:
        """Check a step like `check_finite`, but perhaps with a delay.

        Args:
            module: Module in training, attached to a trainer.
            step: Name of the step in the message.
            loss: Loss () of this process.
            optimizer: Optimizer that is about to step.
            scaled: True if a gradient scaler checks the gradients.
            at_once: Wait for the result, so that a step that is not finite is not taken.

        Returns:
            Norm of the gradients (); 0 if a scaler checks them.

        Raises:
            DivergedError: This step, which was not taken, or an earlier one is not finite.
        """
        send = self._send or (sent_to_host if loss.is_cuda else None)
        if at_once or send is None:
            return check_finite(module, step, loss, optimizer, scaled, self.batch)
        values = _loss_and_norm(loss, optimizer, scaled)
        sent = send(torch.cat((values, _health(self.batch, values))))
        self._pending.append(_Step(_place(module), step, optimizer.param_groups[0]["lr"], sent))
        self._read_all_but(self._lag)
        return values[1]

    def settle(self) -> None:
        """Wait for and read all pending results.

        Raises:
            DivergedError: A step was not finite.
        """
        self._read_all_but(0)

    def forget(self) -> None:
        """Drop the pending results of an earlier run."""
        self._pending.clear()

    def _read_all_but(self, newest: int) -> None:
        while len(self._pending) > newest:
            self._pending.popleft().read()


def check_finite(
    module: LightningModule,
    step: str,
    loss: Tensor,
    optimizer: Optimizer,
    scaled: bool = False,
    batch: Any = None,
) -> Tensor:
    """Check a step whose gradients are computed and, with several processes, averaged.

    All processes reach the same verdict. The check computes one norm over all gradients and waits
    once for the device; the gradients are examined one by one only if it is not finite.

    Args:
        module: Module in training, attached to a trainer.
        step: Name of the step in the message.
        loss: Loss () of this process.
        optimizer: Optimizer that is about to step.
        scaled: True if a gradient scaler checks the gradients; it skips infinite ones itself.
        batch: The batch of the step, if it is known.

    Returns:
        Norm of the gradients (); 0 if a scaler checks them.

    Raises:
        DivergedError: The loss or a gradient is not finite. The message says which and where.
    """
    values = _loss_and_norm(loss, optimizer, scaled)
    if bool(values.isfinite().all()):
        return values[1]
    verdict = _verdict(module, optimizer, values[1])
    data = next(filter(None, gather_from_ranks(_broken(batch))), "")
    raise DivergedError(
        f"{_place(module)}: {data and f'{data}; '}loss of the {step} {float(values[0]):g}, "
        f"{verdict}, learning rate {optimizer.param_groups[0]['lr']:g}",
        data=data,
    )


def _broken(batch: Any) -> str:
    """Describe the first tensor of a batch that is not finite; empty if all are."""
    for name, value in tensors(batch, "batch"):
        if not bool(value.isfinite().all()):
            return f"the data is not finite, {name} has {count(value, value.numel())}"
    return ""


def _health(batch: Any, like: Tensor) -> Tensor:
    """Return a number (1,) that is not finite if a number of a batch is not, without waiting."""
    found = [
        value.sum(dtype=torch.float32)
        for _, value in tensors(batch, "")
        if value.is_floating_point()
    ]
    return torch.stack(found).sum().to(like).reshape(1) if found else like.new_zeros(1)


def _loss_and_norm(loss: Tensor, optimizer: Optimizer, scaled: bool) -> Tensor:
    """Return the mean loss of all processes and the norm of the gradients (2,)."""
    (mean,) = mean_over_ranks([loss.detach()])
    gradients = [] if scaled else [gradient for _, gradient in _gradients(optimizer)]
    norm = get_total_norm(gradients) if gradients else torch.zeros_like(mean)
    kind = torch.promote_types(mean.dtype, norm.dtype)
    return torch.stack((mean.to(kind), norm.to(kind)))


def _place(module: LightningModule) -> str:
    """Describe the position in the run, such as `epoch 3, batch 4 (step 11)`."""
    trainer = module.trainer
    where = place(trainer.current_epoch, trainer.fit_loop.batch_idx)
    return f"{where} (step {trainer.global_step})"


def _gradients(optimizer: Optimizer) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Yield the parameters that have a gradient, with their gradients."""
    for group in optimizer.param_groups:
        yield from ((value, value.grad) for value in group["params"] if value.grad is not None)


def _verdict(module: LightningModule, optimizer: Optimizer, norm: Tensor) -> str:
    """Describe the gradients that are not finite, naming the first few."""
    names = {value: name for name, value in module.named_parameters()}
    broken = [
        f"{names[value]} ({count(gradient, gradient.numel())})"
        for value, gradient in _gradients(optimizer)
        if not bool(gradient.isfinite().all())
    ]
    if not broken:
        finite = bool(norm.isfinite())  # otherwise a sum of squares overflowed
        return "all gradients finite" if finite else "gradients too large to have a norm"
    more = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
    return f"gradient not finite in {', '.join(broken[:SHOWN])}{more}"
