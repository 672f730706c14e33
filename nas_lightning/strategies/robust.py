"""Stop a search when its minimum becomes sharp in α (RobustDARTS, early stopping)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.genotype import Genotype
from nas_lightning.search import (
    ARCH_GRADIENT,
    ArchGradient,
    BilevelProblem,
    SearchModule,
    SearchPlan,
)
from nas_lightning.strategies.stopping import EarlyStop


def alpha_hessian(problem: BilevelProblem) -> Tensor:
    """d² outer / dα² (A, A) over all A entries of α, averaged over processes, in float64.

    One forward pass, one backward pass that keeps its graph, and A backward passes through it.
    """
    alpha = [value for name, value in problem.arch.items() if name.startswith("alpha.")]
    slope = torch.autograd.grad(problem.outer(), alpha, create_graph=True)
    rows = []
    for entry in torch.cat([part.flatten() for part in slope]):
        parts = problem.grad(entry, alpha, retain_graph=True)
        rows.append(torch.cat([part.flatten() for part in parts]))
    hessian = torch.stack(rows).double()
    return (hessian + hessian.T) / 2  # rounding alone makes the two differ


def largest_eigenvalue(problem: BilevelProblem) -> float:
    """Largest eigenvalue of `alpha_hessian`, in full precision."""
    device = next(iter(problem.arch.values())).device.type
    with torch.autocast(device, enabled=False):
        return float(torch.linalg.eigvalsh(alpha_hessian(problem))[-1])


@final
class RobustDARTS(EarlyStop):
    """Stop when the dominant eigenvalue of the Hessian in α grows (Zela et al., ICLR 2020).

    λ is the largest eigenvalue of d² outer / dα², on the batch of the last architecture step of
    every `every`-th epoch, before that step. Averages of λ run over the last `window` of these
    evaluations (over fewer at the start). When the average has grown to more than `factor` times
    that of `back` evaluations ago, the search stops and gives an earlier genotype: that at the
    end of the epoch in the middle of the older window. Wraps: architecture gradient. Hooks:
    `choose_genotype`. Cost: for each evaluation one forward pass and 1 + A backward passes, where
    A is the number of entries of α (224 in the space of DARTS), and the memory of a graph of
    gradients. Epochs of a warm-up are not evaluated.

    Logged: `robust/eigenvalue` λ, and `robust/ratio` of the averages once there is one.

    Args:
        every: Epochs between evaluations.
        window: Evaluations in an average.
        factor: Growth that stops the search.
        back: How many evaluations lie between the two averages.
        first_epoch: No epoch before this one, counted from 0, is returned.

    Raises:
        UsageError: A number is out of range.
    """

    def __init__(
        self,
        every: int = 2,
        window: int = 5,
        factor: float = 1.3,
        back: int = 4,
        first_epoch: int = 10,
    ) -> None:
        if min(every, window, back) < 1 or first_epoch < 0 or factor <= 0:
            raise UsageError(
                "RobustDARTS: every, window and back must be at least 1, factor positive and "
                "first_epoch not negative"
            )
        super().__init__()
        self.every = every
        self.window = window
        self.factor = factor
        self.back = back
        self.first_epoch = first_epoch
        self._due = False
        self._found: float | None = None
        # one entry an evaluation
        self._epochs: list[int] = []
        self._eigenvalues: list[float] = []
        # of the last evaluations only: those that may still be returned
        self._genotypes: list[dict[str, Any]] = []

    def configure(self, plan: SearchPlan) -> None:
        """Look at the problem of the architecture steps."""
        plan.wrap(ARCH_GRADIENT, self.watched, by=self)

    def watched(self, estimate: ArchGradient) -> ArchGradient:
        """The same gradient; where it is due, λ is found behind it."""

        def watched_gradient(problem: BilevelProblem) -> tuple[Tensor, ...]:
            gradient = estimate(problem)
            if self._due:
                self._found = largest_eigenvalue(problem)
            return gradient

        return watched_gradient

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Say whether λ is due in this batch."""
        self._due = trainer.is_last_batch and trainer.current_epoch % self.every == 0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keep λ and the genotype, and see whether the search is over."""
        if self._found is None or self.stopped:
            return
        assert isinstance(pl_module, SearchModule)
        self._epochs.append(trainer.current_epoch)
        self._eigenvalues.append(self._found)
        self._genotypes.append(pl_module.genotype().to_dict())
        del self._genotypes[: -(self.back + self.window // 2 + 1)]
        pl_module.log("robust/eigenvalue", self._found, on_step=False, on_epoch=True,
                      rank_zero_only=True)  # fmt: skip
        self._found = None
        if (ratio := self._ratio()) is not None:
            pl_module.log("robust/ratio", ratio, on_step=False, on_epoch=True, rank_zero_only=True)
            self.stopped = ratio > self.factor

    def _ratio(self) -> float | None:
        """Growth of the average, if the epoch that it speaks of may be returned already."""
        last = len(self._eigenvalues) - 1
        earlier = last - self.back - self.window // 2
        if earlier < 0 or self._epochs[earlier] < self.first_epoch:
            return None
        before = self._average(last - self.back)
        return self._average(last) / before if before > 0 else None

    def _average(self, last: int) -> float:
        values = self._eigenvalues[max(0, last + 1 - self.window) : last + 1]
        return sum(values) / len(values)

    def choose_genotype(self, module: SearchModule, genotype: Genotype) -> Genotype:
        """Behind a stop the earlier genotype, the oldest that is kept."""
        if not self.stopped:
            return genotype
        chosen = Genotype.from_dict(self._genotypes[0], module.space)
        provenance: Mapping[str, Any] = {
            **genotype.provenance,
            "epoch": chosen.provenance["epoch"],
        }
        return Genotype(chosen.space, chosen.cells, provenance, chosen.mixing)

    def state_dict(self) -> dict[str, Any]:
        """All evaluations, and the genotypes that may still be returned."""
        own = {
            "epochs": self._epochs,
            "eigenvalues": self._eigenvalues,
            "genotypes": self._genotypes,
        }
        return {**super().state_dict(), **own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        super().load_state_dict(state_dict)
        self._epochs = list(state_dict["epochs"])
        self._eigenvalues = list(state_dict["eigenvalues"])
        self._genotypes = list(state_dict["genotypes"])
