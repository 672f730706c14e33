"""A penalty that keeps the softmax weights of operations from growing apart (β-DARTS)."""

from __future__ import annotations

from typing import Any, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from nas_lightning.ranges import NOT_NEGATIVE, check
from nas_lightning.search import OP_RELAXATION, SearchPlan, SearchStrategy
from nas_lightning.supernet import ArchitectureParameters, SoftmaxOps
from nas_lightning.training.schedules import planned_epoch, planned_epochs


@final
class BetaDecay(SearchStrategy):
    """Penalise the mean over edges of log Σ exp α (β-DARTS: Ye et al., CVPR 2022).

    The gradient of the term is the softmax of α divided by the number of edges. Each α is thus
    pushed down in proportion to its own weight, so that the weights of an edge stay close to each
    other. Weight decay does not do this: it acts on α, not on the weights. In epoch t of T, counted
    from 0, the term is multiplied by weight · t / T, as in the released code. Edges of all cell
    kinds count alike.

    Fills: operation relaxation (with the softmax that the paper assumes). Adds a penalty. Cost:
    none.

    Args:
        weight: Factor that λ grows to, linearly from 0. The paper's, 50, is for the 100 epochs of
            its search in NAS-Bench-201.

    Raises:
        UsageError: `weight` is negative.
    """

    replayable = True

    def __init__(self, weight: float = 50.0) -> None:
        self.weight = weight
        check(self, weight=NOT_NEGATIVE)
        self._now = torch.zeros(())  # λ of the epoch, changed in place

    def configure(self, plan: SearchPlan) -> None:
        """Fill the operation relaxation and add the penalty."""
        plan.fill(OP_RELAXATION, SoftmaxOps(), by=self)
        plan.add_penalty(self.penalty, by=self)

    def penalty(self, arch: ArchitectureParameters) -> Tensor:
        """Return λ · mean over edges of log Σ exp α ().

        If operations were removed, the sum is over the others, and the mean over the edges that
        still have several.
        """
        frozen = arch.frozen()
        rows, learned = [], []
        for kind, alpha in arch.alpha.items():
            gone = frozen.get(f"alpha.{kind}", torch.zeros_like(alpha, dtype=torch.bool))
            learns = ~gone.all(dim=-1)
            # an edge that does not learn counts zero times; all -inf would have no gradient
            rows.append(alpha.masked_fill(gone & learns[:, None], -torch.inf).logsumexp(dim=-1))
            learned.append(learns)
        counts = torch.cat(learned)
        return self._now * (torch.cat(rows) * counts).sum() / counts.sum().clamp_min(1)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set λ, since a run resumed within an epoch skips the start of that epoch."""
        self._enter(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set λ, which depends on the epoch alone."""
        self._enter(trainer, pl_module)

    def _enter(self, trainer: Trainer, module: Any) -> None:
        self._now = self._now.to(next(module.arch.parameters()))
        self._now.fill_(self.weight * planned_epoch(trainer) / planned_epochs(trainer))
