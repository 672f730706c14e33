"""Operations sampled with Gumbel noise: soft weights (SNAS) or one operation per edge (GDAS)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.ranges import POSITIVE, at_least, check
from nas_lightning.search import OP_SAMPLING, SearchModule, SearchPlan, SearchStrategy
from nas_lightning.supernet import OpRelaxation, Sample, Step
from nas_lightning.supernet.draws import gumbel
from nas_lightning.training.schedules import planned_epoch, planned_epochs

if TYPE_CHECKING:
    from nas_lightning.architecture import Cell

SMALLEST = 1e-20
"""Lower bound of probabilities, which keeps logarithms and their gradients finite."""


class GumbelSoftmax(OpRelaxation):
    """Samples of the concrete distribution: softmax((log p + g) / τ) on every edge.

    p are the weights of another relaxation, which must be probabilities, so that rows sum to one.
    g is standard Gumbel noise, drawn in every training step for each edge of each cell kind. At
    any τ, entry m is the largest with probability p_m; a low τ makes the sample nearly one-hot
    (Maddison et al.; Jang et al.; both ICLR 2017). Validation and discretisation use p.

    Args:
        inner: Relaxation α → p.
        temperature: τ.
    """

    def __init__(self, inner: OpRelaxation, temperature: float) -> None:
        self.inner = inner
        self.temperature = temperature

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """Return the initial α (E, O) of the inner relaxation."""
        return self.inner.initial(cell, generator)

    def weights(self, alpha: Tensor) -> Tensor:
        """Return the probabilities p (E, O)."""
        return self.inner.weights(alpha)

    def sample(self, cell: Cell, alpha: Tensor, generator: torch.Generator, step: Step) -> Sample:
        """Draw weights whose rows sum to one; differentiable in α, and alike in both steps."""
        return Sample(self.draw(alpha, generator))

    def draw(self, alpha: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a sample (E, O) whose rows sum to one; differentiable in α."""
        weights = self.weights(alpha)
        logits = weights.clamp_min(SMALLEST).log().masked_fill(weights == 0, -torch.inf)
        return ((logits + gumbel(logits, generator)) / self.temperature).softmax(dim=-1)

    def restricted(self, alpha: Tensor, kept: Tensor) -> Tensor:
        """Return α (E, O) restricted as the inner relaxation restricts it."""
        return self.inner.restricted(alpha, kept)

    def remove_(self, alpha: Tensor, kept: Tensor) -> None:
        """Adapt α like the inner relaxation."""
        self.inner.remove_(alpha, kept)

    def project_(self, alpha: Tensor) -> None:
        """Project α like the inner relaxation."""
        self.inner.project_(alpha)


class HardGumbel(GumbelSoftmax):
    """One-hot weights of the largest entry of a Gumbel softmax sample, with the soft gradient."""

    runs_few = True

    def sample(self, cell: Cell, alpha: Tensor, generator: torch.Generator, step: Step) -> Sample:
        """Draw one-hot rows; the operation of weight one runs."""
        weights = self.draw(alpha, generator)
        return Sample(weights, tuple((m,) for m in weights.argmax(dim=1).tolist()))

    def draw(self, alpha: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one-hot rows (E, O) with the gradient of the soft sample (straight-through)."""
        soft = super().draw(alpha, generator)
        hard = F.one_hot(soft.argmax(dim=-1), soft.shape[-1]).to(soft)
        # in this order the difference is exactly zero, so the values are exactly one-hot
        return hard + (soft - soft.detach())


class GumbelSampling(SearchStrategy, ABC):
    """Sample operations at a temperature that falls linearly over the run.

    Args:
        tau: τ from which it falls.
        tau_end: τ to which it falls.

    Raises:
        UsageError: A temperature is not positive.
    """

    relaxation: ClassVar[type[GumbelSoftmax]]
    """Class of the relaxation that samples."""

    def __init__(self, tau: float, tau_end: float) -> None:
        self.tau = tau
        self.tau_end = tau_end
        check(self, tau=POSITIVE, tau_end=POSITIVE)

    @abstractmethod
    def fallen(self, epoch: int, epochs: int) -> float:
        """Return the share of the way from `tau` to `tau_end`, from 0 to 1.

        Args:
            epoch: The epoch, counted from 0.
            epochs: Number of epochs of the run.
        """

    def configure(self, plan: SearchPlan) -> None:
        """Fill the operation sampling, for whichever relaxation the plan ends up with."""
        plan.fill(OP_SAMPLING, self.sampled, by=self)

    def sampled(self, inner: OpRelaxation) -> OpRelaxation:
        """Return a relaxation that samples from the weights of the inner one."""
        return self.relaxation(inner, self.tau)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set τ, since a run resumed within an epoch skips the start of that epoch."""
        self._anneal(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set τ, which depends on the epoch alone."""
        self._anneal(trainer, pl_module)

    def _anneal(self, trainer: Trainer, pl_module: LightningModule) -> None:
        done = min(1.0, self.fallen(planned_epoch(trainer), planned_epochs(trainer)))
        assert isinstance(pl_module, SearchModule)
        assert isinstance(pl_module.arch.ops, GumbelSoftmax)
        pl_module.arch.ops.temperature = self.tau + (self.tau_end - self.tau) * done


@final
class SNAS(GumbelSampling):
    """Mix operations by soft samples of the concrete distribution (SNAS: Xie et al., ICLR 2019).

    The mixing weights are softmax((log p + g) / τ), where p is the softmax of α (or, with
    `ExponentiatedGradient`, α itself). All operations run. The paper trains α and the weights on
    the same loss: add `SingleLevel` for this. Fills: operation sampling. Cost: none.

    τ in epoch e of E, counted from 0, is tau + (tau_end - tau)(e + 1) / E, as in the released code:
    the first epoch is one step below `tau`, and the last one has `tau_end`.

    Args:
        tau: τ from which it falls.
        tau_end: τ in the last epoch.

    Raises:
        UsageError: A temperature is not positive.
    """

    relaxation = GumbelSoftmax

    def __init__(self, tau: float = 1.0, tau_end: float = 0.03) -> None:
        super().__init__(tau, tau_end)

    def fallen(self, epoch: int, epochs: int) -> float:
        """Return (e + 1) / E."""
        return (epoch + 1) / epochs


@final
class GDAS(GumbelSampling):
    """Run one sampled operation per edge, with the gradient of a soft sample (GDAS, CVPR 2019).

    The mixing weights are the one-hot argmax of softmax((log p + g) / τ), with the gradient of the
    softmax. The weight of the operation that runs thus depends on all α of its edge, and all of
    them learn. p is the softmax of α (or, with `ExponentiatedGradient`, α itself). Fills:
    operation sampling. Cost: time and memory of one operation per edge instead of all. The other
    operations get no gradient in a step; under DDP, `find_unused_parameters` is set for this.

    τ in epoch e of E, counted from 0, is tau + (tau_end - tau) max(0, e - hold_epochs) / (E - 1).
    Without `hold_epochs` the last epoch thus has `tau_end`.

    Args:
        tau: τ in the first epoch.
        tau_end: τ in the last epoch of a run without `hold_epochs`.
        hold_epochs: Number of first epochs in which τ stays at `tau`. It then falls as fast as it
            would without them, so that it does not reach `tau_end`. GAEA's released code does so
            in the epochs before the first arch step.

    Raises:
        UsageError: A temperature is not positive, or `hold_epochs` is negative.
    """

    leaves_parameters_unused = True
    relaxation = HardGumbel

    def __init__(self, tau: float = 10.0, tau_end: float = 0.1, hold_epochs: int = 0) -> None:
        super().__init__(tau, tau_end)
        self.hold_epochs = hold_epochs
        check(self, hold_epochs=at_least(0))

    def fallen(self, epoch: int, epochs: int) -> float:
        """Return max(0, e - hold_epochs) / (E - 1)."""
        return max(0, epoch - self.hold_epochs) / max(1, epochs - 1)
