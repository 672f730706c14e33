"""A penalty on cells that disagree about the architecture (Λ-DARTS)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from nas_lightning.distributed import mean_over_ranks
from nas_lightning.errors import UsageError
from nas_lightning.randomness import ReplayedDraws
from nas_lightning.ranges import NOT_NEGATIVE, POSITIVE, check
from nas_lightning.search import (
    WEIGHT_MIXING,
    SearchModule,
    SearchPlan,
    SearchStrategy,
    WeightMixing,
)
from nas_lightning.search.agreement import (
    agreement,
    agreement_slope,
    sign_agreement,
    sign_agreement_slope,
)
from nas_lightning.search.differences import TINY, norm
from nas_lightning.supernet import Mixing, Supernet
from nas_lightning.training.schedules import planned_epoch, planned_epochs

Own = Mapping[str, tuple[Tensor, ...]]
"""Weights of the operations (E, O) of each cell, by cell kind."""
MEASURES = {
    "cosine": (agreement, agreement_slope),
    "signs": (sign_agreement, sign_agreement_slope),
}
"""Λ of the gradients of the cells (L, N), and its derivative by them."""


@dataclass(frozen=True)
class WeightStep:
    """The inputs of the finite difference in a weight step.

    Attributes:
        mixing: The mixing weights of the step.
        own: Their copies for each cell, which take gradients.
        loss: From mixing weights to the inner loss () of the batch.
        replay: Repeats the random draws of the step.
    """

    mixing: Mixing
    own: Own
    loss: Callable[[Mixing], Tensor]
    replay: ReplayedDraws

    def gradients(self) -> dict[str, Tensor]:
        """Return the gradient of each cell (L, E·O) by kind, averaged over processes."""
        rows = {
            kind: torch.stack([_gradient(each).flatten() for each in cells])
            for kind, cells in self.own.items()
        }
        return dict(zip(rows, mean_over_ranks(list(rows.values())), strict=True))

    def moved(
        self, slopes: Mapping[str, Tensor], by: float, weights: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Return the gradient of the inner loss by weights, with the cells' p moved.

        Args:
            slopes: Directions (L, E·O) by kind.
            by: Factor of the directions.
            weights: Weights of the supernet.
        """
        own = {
            kind: tuple(
                p.detach() + by * slope.view_as(p)
                for p, slope in zip(cells, slopes[kind], strict=True)
            )
            for kind, cells in self.own.items()
        }
        device = weights[0].device.type
        with torch.autocast(device, enabled=False):
            loss = self.replay(lambda: self.loss(replace(self.mixing, own=own)))
            return mean_over_ranks(torch.autograd.grad(loss, weights, materialize_grads=True))


def agreement_gradient(
    step: WeightStep, slopes: Mapping[str, Tensor], epsilon: float, weights: Sequence[Tensor]
) -> list[Tensor]:
    """Return the gradient of Λ by weights, as a central difference in p.

    With v_l = ∂Λ/∂g_l it is (∇_w L(p + e v) - ∇_w L(p - e v)) / 2e, where e = ε / |v|. It is zero
    if v is: all cells agree.

    Args:
        step: The weight step.
        slopes: v by kind (L, E·O).
        epsilon: ε, the length of the step in p, of all cells together.
        weights: Weights of the supernet.
    """
    size = float(norm(list(slopes.values())))
    if size < TINY:
        return [torch.zeros_like(weight) for weight in weights]
    by = epsilon / size
    above, below = (step.moved(slopes, sign * by, weights) for sign in (1, -1))
    return [(a - b) / (2 * by) for a, b in zip(above, below, strict=True)]


def _gradient(p: Tensor) -> Tensor:
    return torch.zeros_like(p) if p.grad is None else p.grad


@final
class LambdaDARTS(SearchStrategy):
    """Let the cells that share α agree about it (Λ-DARTS: Movahedi et al., ICLR 2023).

    The weight step minimises L + λ (1 - Λ). Λ is the mean cosine between the gradients g_l and g_m
    of two cells, where g_l is the gradient of the inner loss L by cell l's own copy of the
    operation weights p, or the agreement of their signs. Its gradient by the weights of the
    supernet is a finite difference, see `agreement_gradient`, and is added before clipping. The
    architecture step is that of DARTS. In epoch t of T, counted from 0, λ is weight · t / (T - 1).

    Wraps: mixing in weight steps. Cost: two forward and backward passes more in each weight
    step, in full precision at any precision of the trainer; none in the first epoch, where λ is 0.

    Logs, as the mean over an epoch, Λ of the inner loss (`lambda_darts/agreement`). That of the
    outer loss is `search/lambda` in every search.

    Args:
        weight: λ in the last epoch; 0 changes nothing.
        epsilon: Length of the finite-difference step in p, of all cells together.
        kinds: Kinds of cells whose agreement counts, with at least two cells each. `None` takes the
            kind that has most cells, in the DARTS space the normal cells, as in the released code.
        measure: What Λ is: `cosine`, or `signs` for `sign_agreement`, which the released code calls
            `signcorr`.

    Raises:
        UsageError: An argument is out of range.
    """

    logs = ("lambda_darts/",)

    def __init__(
        self,
        weight: float = 0.125,
        epsilon: float = 1e-4,
        kinds: list[str] | None = None,
        measure: Literal["cosine", "signs"] = "cosine",
    ) -> None:
        self.weight = weight
        self.epsilon = epsilon
        self.kinds = kinds
        self.measure: Literal["cosine", "signs"] = measure
        check(self, weight=NOT_NEGATIVE, epsilon=POSITIVE)
        self._counts: dict[str, int] = {}  # number of cells of the kinds whose agreement counts
        self._now = 0.0  # λ of the epoch
        self._module: SearchModule | None = None  # in a batch
        self._step: WeightStep | None = None  # from the passes of a weight step to its gradients

    def configure(self, plan: SearchPlan) -> None:
        """Wrap the mixing of the weight step."""
        if self.weight:
            plan.check_supernet(self._count, by=self)
            plan.wrap(WEIGHT_MIXING, self._watched, by=self)

    def _count(self, supernet: Supernet) -> None:
        """Count the cells.

        Raises:
            UsageError: No cells share α, or a kind does not exist or has a single cell.
        """
        several = {kind: n for kind, n in supernet.cell_counts.items() if n > 1}
        if not several:
            raise UsageError(
                "LambdaDARTS compares cells that share α, and each cell of this supernet has its "
                "own: remove it"
            )
        kinds = [max(several, key=lambda kind: several[kind])] if self.kinds is None else self.kinds
        for kind in kinds:
            if kind not in several:
                raise UsageError(
                    f"LambdaDARTS: kinds must be among {', '.join(several)}, found {kind!r:.30}"
                )
        self._counts = {kind: several[kind] for kind in kinds}

    def _watched(self, rule: WeightMixing) -> WeightMixing:
        """Return the mixing of the weight step with copies of p that take gradients."""

        def watched(mixing: Mixing, loss: Callable[[Mixing], Tensor]) -> Mixing:
            module = self._module
            assert module is not None
            mixing = rule(mixing, loss)
            if not self._now:
                return mixing
            own = {
                kind: tuple(mixing.ops[kind].clone().requires_grad_() for _ in range(count))
                for kind, count in self._counts.items()
            }
            replay = ReplayedDraws(module.device, module.arch.generator)
            self._step = WeightStep(mixing, own, loss, replay)
            return replace(mixing, own=own)

        return watched

    def on_weight_gradients(self, module: SearchModule) -> None:
        """Add the gradient of λ (1 - Λ) to those of the weights that have one."""
        step, self._step = self._step, None
        if step is None:
            return
        gradients = step.gradients()
        measure, slope = MEASURES[self.measure]
        found = torch.stack([measure(rows) for rows in gradients.values()]).mean()
        module.streams.mean(module, {"lambda_darts/agreement": found})
        # of the mean over the kinds
        slopes = {k: slope(rows) / len(gradients) for k, rows in gradients.items()}
        weights = [weight for weight in module.supernet.parameters() if weight.grad is not None]
        added = agreement_gradient(step, slopes, self.epsilon, weights)
        for weight, gradient in zip(weights, added, strict=True):
            assert weight.grad is not None
            weight.grad.sub_(gradient, alpha=self._now)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the precision.

        Raises:
            UsageError: The gradients of the trainer are scaled.
        """
        super().setup(trainer, pl_module, stage)
        if self.weight and getattr(trainer.precision_plugin, "scaler", None) is not None:
            raise UsageError(
                f"LambdaDARTS adds to gradients, which trainer.precision {trainer.precision} "
                f"scales: use bf16-mixed or 32-true"
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the module, whose generator the draws come from."""
        assert isinstance(pl_module, SearchModule)
        self._module = pl_module

    def on_train_batch_end(self, *_: object, **__: object) -> None:
        """Forget the module and the step, so that the strategy holds plain numbers again."""
        self._module = self._step = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set λ, since a run resumed within an epoch skips the start of that epoch."""
        self._enter(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set λ, which depends on the epoch alone."""
        self._enter(trainer)

    def _enter(self, trainer: Trainer) -> None:
        last = planned_epochs(trainer) - 1
        self._now = self.weight * (min(1, planned_epoch(trainer) / last) if last else 1)
