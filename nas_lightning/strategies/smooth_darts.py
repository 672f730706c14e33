"""Weight steps under perturbed mixing weights, random or adversarial (SmoothDARTS)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from nas_lightning.distributed import mean_over_ranks
from nas_lightning.ranges import NOT_NEGATIVE, at_least, check
from nas_lightning.search import (
    OP_SAMPLING,
    WEIGHT_MIXING,
    SearchModule,
    SearchPlan,
    SearchStrategy,
    no_sampling,
)
from nas_lightning.search.bilevel import frozen
from nas_lightning.supernet import Mixing
from nas_lightning.supernet.draws import uniform
from nas_lightning.training.schedules import planned_epoch, planned_epochs

Ops = Mapping[str, Tensor]
"""Weights of the operations (E, O) by cell kind."""


def running(mixing: Mixing) -> dict[str, Tensor]:
    """Return masks (E, O) of the operations that run, by cell kind."""
    masks = {}
    for kind, weights in mixing.ops.items():
        rows = mixing.active.get(kind)
        number = range(weights.shape[1])
        mask = [[m in row for m in number] for row in rows] if rows is not None else None
        everything = torch.ones_like(weights, dtype=torch.bool)
        masks[kind] = everything if mask is None else everything.new_tensor(mask)
    return masks


def valid(weights: Tensor, runs: Tensor) -> Tensor:
    """Return the weights (E, O) clipped to [0, 1] and divided by the sum of their edge.

    If nothing is left of an edge, its largest weight becomes 1. Operations that do not run have
    weight 0.
    """
    largest = weights.masked_fill(~runs, -torch.inf).argmax(dim=-1, keepdim=True)
    clipped = weights.clamp(0, 1) * runs
    alone = torch.zeros_like(clipped).scatter(-1, largest, 1) * runs
    clipped = torch.where(clipped.sum(dim=-1, keepdim=True) > 0, clipped, alone)
    return clipped / clipped.sum(dim=-1, keepdim=True).where(runs.any(dim=-1, keepdim=True), 1)


@contextmanager
def evaluating(module: SearchModule) -> Iterator[None]:
    """Evaluate the supernet inside the context, without gradients of its weights."""
    training = module.supernet.training
    module.supernet.eval()
    try:
        with frozen(module.supernet.parameters()):
            yield
    finally:
        module.supernet.train(training)


def ascended(
    ops: Ops, runs: Ops, loss: Callable[[Ops], Tensor], start: Ops, epsilon: float, steps: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Return weights near `ops` with a higher loss, by projected gradient ascent, and the rise.

    A step adds 2ε / steps · sign of the gradient, returns to within ε of `ops`, and makes the
    weights valid. Loss and gradient are means over all processes. If the loss is lower at the end,
    the result is `ops`.

    Args:
        ops: Weights, without a graph.
        runs: Masks of the operations that run.
        loss: From weights to the loss ().
        start: Weights where the ascent begins.
        epsilon: ε.
        steps: Number of steps.

    Returns:
        The weights, and the difference of the losses (), 0 if it was negative.
    """
    with torch.no_grad():
        before = loss(ops)
    at = dict(start)
    for _ in range(steps):
        leaves = {kind: weights.detach().requires_grad_() for kind, weights in at.items()}
        slopes = torch.autograd.grad(loss(leaves), list(leaves.values()), materialize_grads=True)
        for kind, slope in zip(at, mean_over_ranks(slopes), strict=True):
            moved = at[kind] + 2 * epsilon / steps * slope.sign()
            moved = ops[kind] + (moved - ops[kind]).clamp(-epsilon, epsilon)
            at[kind] = valid(moved, runs[kind])
    with torch.no_grad():
        after = loss(at)
    (rise,) = mean_over_ranks((after - before,))
    # on the device: no host waits for the decision
    found = {kind: torch.where(rise < 0, ops[kind], weights) for kind, weights in at.items()}
    return found, rise.clamp_min(0)


@final
class SmoothDARTS(SearchStrategy):
    """Step the weights under perturbed mixing weights (SDARTS: Chen and Hsieh, ICML 2020).

    The weights learn to do well in a neighbourhood of the mixing weights p, so that the outer loss
    changes less when the cell is discretised. Two perturbations of p are possible:

    * `random` (SDARTS-RS) adds uniform noise in [-ε, ε], drawn in each batch;
    * `adversarial` (SDARTS-ADV) looks for a perturbation that raises the inner loss of the batch:
      it starts at random and takes `steps` steps of projected gradient ascent, see `ascended`. The
      supernet is in evaluation mode meanwhile.

    Both then clip to [0, 1] and divide by the sum of the edge, as the released code does. The
    division can take a weight further than ε away. In epoch t of T, counted from 0, ε is
    epsilon_start + (epsilon - epsilon_start) · t / T. Edge weights are not perturbed, and the
    architecture step is that of DARTS.

    Fills: mixing in weight steps, operation sampling (with none). Cost: none for `random`;
    `steps` + 2 passes of the supernet in each weight step, of which `steps` backward too, for
    `adversarial`.

    Logs, as the mean over an epoch, the rise of the inner loss by `adversarial` (`sdarts/rise`).

    Args:
        perturbation: `random` or `adversarial`.
        epsilon: Value that ε grows to.
        epsilon_start: ε in the first epoch. If both are 0, nothing is perturbed.
        steps: Number of steps of `adversarial`.

    Raises:
        UsageError: An argument is out of range.
    """

    logs = ("sdarts/",)

    def __init__(
        self,
        perturbation: Literal["random", "adversarial"] = "random",
        epsilon: float = 0.3,
        epsilon_start: float = 0.03,
        steps: int = 7,
    ) -> None:
        self.perturbation: Literal["random", "adversarial"] = perturbation
        self.epsilon = epsilon
        self.epsilon_start = epsilon_start
        self.steps = steps
        check(self, epsilon=NOT_NEGATIVE, epsilon_start=NOT_NEGATIVE, steps=at_least(1))
        self._now = 0.0  # ε of the epoch
        self._module: SearchModule | None = None  # in a batch

    def configure(self, plan: SearchPlan) -> None:
        """Fill the mixing of the weight step, and allow no sampling."""
        plan.fill(OP_SAMPLING, no_sampling, by=self)
        if self.epsilon or self.epsilon_start:
            plan.fill(WEIGHT_MIXING, self.perturbed, by=self)

    def perturbed(self, mixing: Mixing, loss: Callable[[Mixing], Tensor]) -> Mixing:
        """Return perturbed mixing weights."""
        module = self._module
        assert module is not None
        runs = running(mixing)
        start = {}
        for kind, weights in mixing.ops.items():
            noise = 2 * uniform(weights, module.arch.generator) - 1
            start[kind] = valid(weights + self._now * noise, runs[kind])
        if self.perturbation == "random":
            return replace(mixing, ops=start)

        def of_ops(ops: Ops) -> Tensor:
            return loss(replace(mixing, ops=ops))

        with evaluating(module):
            found, rise = ascended(mixing.ops, runs, of_ops, start, self._now, self.steps)
        module.streams.mean(module, {"sdarts/rise": rise})
        return replace(mixing, ops=found)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the module, whose generator and supernet the perturbation needs."""
        assert isinstance(pl_module, SearchModule)
        self._module = pl_module

    def on_train_batch_end(self, *_: object, **__: object) -> None:
        """Forget the module, so that the strategy holds plain numbers again."""
        self._module = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set ε, since a run resumed within an epoch skips the start of that epoch."""
        self._enter(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set ε, which depends on the epoch alone."""
        self._enter(trainer)

    def _enter(self, trainer: Trainer) -> None:
        done = planned_epoch(trainer) / planned_epochs(trainer)
        self._now = self.epsilon_start + (self.epsilon - self.epsilon_start) * done
