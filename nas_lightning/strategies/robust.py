"""Early stopping when the minimum of a search becomes sharp in α (RobustDARTS)."""

from __future__ import annotations

from typing import Any, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from nas_lightning.architecture import Genotype
from nas_lightning.ranges import POSITIVE, at_least, check
from nas_lightning.search import (
    ARCH_GRADIENT,
    ArchGradient,
    BilevelProblem,
    SearchModule,
    SearchPlan,
)
from nas_lightning.search.bilevel import frozen
from nas_lightning.strategies.stopping import EarlyStop


def alpha_hessian(problem: BilevelProblem) -> Tensor:
    """Compute d² outer / dα² (A, A) over all A entries of α, averaged over processes, in float64.

    It takes one forward pass, one backward pass that creates a graph, and A backward passes through
    that graph.
    """
    alpha = [value for name, value in problem.arch.items() if name.startswith("alpha.")]
    rows = []
    with frozen(problem.weights.values()):
        slope = torch.autograd.grad(problem.outer(), alpha, create_graph=True)
        for entry in torch.cat([part.flatten() for part in slope]):
            parts = problem.grad(entry, alpha, retain_graph=True)
            rows.append(torch.cat([part.flatten() for part in parts]))
    hessian = torch.stack(rows).double()
    return (hessian + hessian.T) / 2  # they differ by rounding only


def largest_eigenvalue(problem: BilevelProblem) -> float:
    """Return the largest eigenvalue of `alpha_hessian`, computed in full precision."""
    device = next(iter(problem.arch.values())).device.type
    with torch.autocast(device, enabled=False):
        return float(torch.linalg.eigvalsh(alpha_hessian(problem))[-1])


@final
class RobustDARTS(EarlyStop):
    """Stop when the dominant eigenvalue of the Hessian in α grows (Zela et al., ICLR 2020).

    λ is the largest eigenvalue of d² outer / dα². It is computed in the last architecture step of
    every `every`-th epoch, on the batch of that step and before α is stepped. The search stops
    when the mean of the last `window` values exceeds `factor` times the mean of the `window`
    values that ended `back` values earlier. It then returns an earlier genotype, that at the end
    of the epoch in the middle of the older window. Values that no window can contain are not
    computed, and an epoch without architecture steps has no value. Wraps: architecture gradient.
    Hooks: `choose_genotype`. Cost: for each value one forward pass and 1 + A backward passes,
    where A is the number of entries of α (224 in the space of DARTS), and the memory of a graph of
    gradients.

    Logs λ (`robust/eigenvalue`) and, once there are enough values, the ratio of the two means
    (`robust/ratio`).

    Args:
        every: Number of epochs from one value to the next.
        window: Number of values in a mean.
        factor: Ratio of the means above which the search stops.
        back: Number of values between the ends of the two windows.
        first_epoch: First epoch, counted from 0, whose genotype may be returned.

    Raises:
        UsageError: A number is out of range.
    """

    logs = ("robust/",)
    differentiates_alpha_twice = True

    def __init__(
        self,
        every: int = 2,
        window: int = 5,
        factor: float = 1.3,
        back: int = 4,
        first_epoch: int = 10,
    ) -> None:
        super().__init__()
        self.every = every
        self.window = window
        self.factor = factor
        self.back = back
        self.first_epoch = first_epoch
        check(self, every=at_least(1), window=at_least(1), back=at_least(1))
        check(self, first_epoch=at_least(0), factor=POSITIVE)
        self._due = False
        self._found: float | None = None
        # only the last values, those of the two windows
        self._eigenvalues: list[float] = []
        self._genotypes: list[dict[str, Any]] = []

    @property
    def differentiates_twice(self) -> bool:
        """Always True, for the Hessian in α."""
        return True

    def configure(self, plan: SearchPlan) -> None:
        """Wrap the architecture gradient."""
        plan.wrap(ARCH_GRADIENT, self.watched, by=self)

    def watched(self, estimate: ArchGradient) -> ArchGradient:
        """Return `estimate`, followed by the computation of λ where that is due."""

        def watched_gradient(problem: BilevelProblem) -> tuple[Tensor, ...]:
            gradient = estimate(problem)
            # there is no λ in a step that leaves α alone, nor in one that is not finite and refused
            learns = any(name.startswith("alpha.") for name in problem.arch)
            if self._due and learns and all(bool(part.isfinite().all()) for part in gradient):
                self._found = largest_eigenvalue(problem)
            return gradient

        return watched_gradient

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Determine if λ is due in this batch."""
        first = self.first_epoch - self.every * (self.window // 2)
        epoch = trainer.current_epoch
        self._due = trainer.is_last_batch and epoch >= first and epoch % self.every == 0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Store λ and the genotype, and check the criterion."""
        if self._found is None:
            return
        assert isinstance(pl_module, SearchModule)
        self._eigenvalues.append(self._found)
        self._genotypes.append(pl_module.genotype().to_dict())
        self._found = None
        for values in (self._eigenvalues, self._genotypes):
            del values[: -(self.window + self.back)]
        logged = {"robust/eigenvalue": self._eigenvalues[-1]}
        if (ratio := self._ratio()) is not None:
            logged["robust/ratio"] = ratio
            self.stopped = ratio > self.factor
        pl_module.streams.mean(pl_module, logged)

    def _ratio(self) -> float | None:
        """Return newer mean / older mean; `None` if values lack or the older is not positive."""
        older, newer = self._eigenvalues[: self.window], self._eigenvalues[-self.window :]
        if len(self._eigenvalues) < self.window + self.back or sum(older) <= 0:
            return None
        return sum(newer) / sum(older)

    def choose_genotype(self, module: SearchModule, genotype: Genotype) -> Genotype:
        """Return the genotype from the middle of the older window if the search was stopped."""
        if not self.stopped:
            return genotype
        middle = self._genotypes[self.window - 1 - self.window // 2]
        chosen = Genotype.from_dict(middle, module.space)
        provenance = {**genotype.provenance, "epoch": chosen.provenance["epoch"]}
        return Genotype(chosen.space, chosen.cells, provenance, chosen.mixing)

    def state_dict(self) -> dict[str, Any]:
        """Return the values and genotypes of the two windows."""
        own = {"eigenvalues": self._eigenvalues, "genotypes": self._genotypes}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a result of `state_dict`."""
        super().load_state_dict(state_dict)
        self._eigenvalues = list(state_dict["eigenvalues"])
        self._genotypes = list(state_dict["genotypes"])
