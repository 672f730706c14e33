"""Whether the loss and the gradients of a step are finite.

The CPU knows before the optimizer steps. A GPU works behind the host, and a host that asks it in
every step leaves it idle in between: there the answer is looked at a few steps later, and always
before a checkpoint is written.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from nas_lightning.distributed import mean_over_ranks
from nas_lightning.errors import DivergedError

SHOWN = 3
"""How many broken tensors a message names."""
LAG = 4
"""How many checks later a device's answer is looked at: behind two batches of a search."""

Arrival = Callable[[], Tensor]
"""Waits for values that are on their way to the host."""


def sent_to_host(values: Tensor) -> Arrival:
    """Begin to copy values from a CUDA device, without waiting for them."""
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
    """A step whose answer is on its way.

    Attributes:
        place: Epoch, batch and step.
        name: What the step is called.
        rate: Its learning rate.
        values: Loss and norm of the gradients (2,).
    """

    place: str
    name: str
    rate: float
    values: Arrival

    def look(self) -> None:
        loss, norm = self.values().tolist()
        if not math.isfinite(loss + norm):
            raise DivergedError(
                f"{self.place}: loss of the {self.name} {loss:g}, norm of its gradients "
                f"{norm:g}, learning rate {self.rate:g}",
                taken=True,
            )


class FiniteSteps:
    """Checks the steps of a run; on a CUDA device without waiting for it.

    There the answer of a step is looked at `lag` checks later. It is a fixed number, and not
    whenever the answer happens to be there: so all processes stop at the same step, and a run that
    is repeated ends at the same place.

    Args:
        send: Begins to copy values to the host; by default `sent_to_host` for values on a CUDA
            device, while all other values are looked at at once.
        lag: How many checks later a value that was sent is looked at.
    """

    def __init__(self, send: Callable[[Tensor], Arrival] | None = None, lag: int = LAG) -> None:
        self._send = send
        self._lag = lag
        self._pending: deque[_Step] = deque()

    def check(
        self,
        module: LightningModule,
        step: str,
        loss: Tensor,
        optimizer: Optimizer,
        scaled: bool = False,
        at_once: bool = False,
    ) -> Tensor:
        """Check a step, see `check_finite`; here the step may be an earlier one.

        Args:
            module: What is trained, in a trainer.
            step: What the step is called in the message.
            loss: The loss () of this process.
            optimizer: What is about to step.
            scaled: Whether a gradient scaler watches the gradients.
            at_once: Wait for the answer, so that a broken step is not taken.

        Returns:
            Norm of the gradients (); 0 if a scaler watches them.

        Raises:
            DivergedError: This step is not finite and was not taken, or an earlier one was not.
        """
        send = self._send or (sent_to_host if loss.is_cuda else None)
        if at_once or send is None:
            return check_finite(module, step, loss, optimizer, scaled)
        values = _loss_and_norm(loss, optimizer, scaled)
        sent = send(values)
        self._pending.append(_Step(_place(module), step, optimizer.param_groups[0]["lr"], sent))
        self._look_at_all_but(self._lag)
        return values[1]

    def settle(self) -> None:
        """Look at all answers that are still on their way.

        Raises:
            DivergedError: A step was not finite.
        """
        self._look_at_all_but(0)

    def forget(self) -> None:
        """Drop what an earlier run left."""
        self._pending.clear()

    def _look_at_all_but(self, newest: int) -> None:
        while len(self._pending) > newest:
            self._pending.popleft().look()


def check_finite(
    module: LightningModule, step: str, loss: Tensor, optimizer: Optimizer, scaled: bool = False
) -> Tensor:
    """Check a step whose gradients are made and, with several processes, averaged.

    All processes come to the same verdict. It takes one look at all gradients and waits once for
    the device; only a broken step is looked at closely.

    Args:
        module: What is trained, in a trainer.
        step: What the step is called in the message.
        loss: The loss () of this process.
        optimizer: What is about to step.
        scaled: Whether a gradient scaler watches the gradients; it skips infinite ones by itself.

    Returns:
        Norm of the gradients (); 0 if a scaler watches them.

    Raises:
        DivergedError: Something is not finite; says where and what.
    """
    values = _loss_and_norm(loss, optimizer, scaled)
    if bool(values.isfinite().all()):
        return values[1]
    verdict = _verdict(module, optimizer, values[1])
    raise DivergedError(
        f"{_place(module)}: loss of the {step} {float(values[0]):g}, {verdict}, "
        f"learning rate {optimizer.param_groups[0]['lr']:g}"
    )


def _loss_and_norm(loss: Tensor, optimizer: Optimizer, scaled: bool) -> Tensor:
    """Mean loss of all processes, and the norm of the gradients (2,)."""
    (mean,) = mean_over_ranks([loss.detach()])
    gradients = [] if scaled else [gradient for _, gradient in _gradients(optimizer)]
    norm = get_total_norm(gradients) if gradients else torch.zeros_like(mean)
    kind = torch.promote_types(mean.dtype, norm.dtype)
    return torch.stack((mean.to(kind), norm.to(kind)))


def _place(module: LightningModule) -> str:
    """`epoch 2, batch 3 (step 11)`."""
    trainer = module.trainer
    batch = trainer.fit_loop.batch_idx
    return f"epoch {trainer.current_epoch}, batch {batch} (step {trainer.global_step})"


def _gradients(optimizer: Optimizer) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Parameters with their gradients, without those that have none."""
    for group in optimizer.param_groups:
        yield from ((value, value.grad) for value in group["params"] if value.grad is not None)


def _verdict(module: LightningModule, optimizer: Optimizer, norm: Tensor) -> str:
    """What of the gradients is not finite, with the first names."""
    names = {value: name for name, value in module.named_parameters()}
    broken = [
        f"{names[value]} ({_count(gradient)})"
        for value, gradient in _gradients(optimizer)
        if not bool(gradient.isfinite().all())
    ]
    if not broken:
        finite = bool(norm.isfinite())  # or a sum of squares overflowed
        return "all gradients finite" if finite else "gradients too large to have a norm"
    more = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
    return f"gradient not finite in {', '.join(broken[:SHOWN])}{more}"


def _count(gradient: Tensor) -> str:
    """`2 nan, 1 inf of 27`."""
    found = {"nan": int(gradient.isnan().sum()), "inf": int(gradient.isinf().sum())}
    listed = ", ".join(f"{number} {kind}" for kind, number in found.items() if number)
    return f"{listed} of {gradient.numel()}"
