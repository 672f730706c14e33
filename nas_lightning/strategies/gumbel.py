"""Operations drawn with Gumbel noise: softly (SNAS), or one an edge (GDAS)."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, ClassVar, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.errors import UsageError
from nas_lightning.search import OP_SAMPLING, SearchModule, SearchPlan, SearchStrategy
from nas_lightning.supernet import OpRelaxation
from nas_lightning.training.schedules import planned_epochs

if TYPE_CHECKING:
    from nas_lightning.architecture import Cell

SMALLEST = 1e-20
"""Probabilities below this count as this, so that logarithms and their gradients are finite."""
MARGIN = torch.finfo(torch.float64).eps
"""Uniform draws keep this distance from 0 and 1: the noise stays within -3.6 and 36.1."""


def gumbel(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise -log(-log u), of the shape, type and device of `like`.

    Args:
        like: Any tensor.
        generator: On the CPU; what it gives does not depend on the device of `like`.
    """
    uniform = torch.rand(like.shape, dtype=torch.float64, generator=generator)
    return uniform.clamp(MARGIN, 1 - MARGIN).log().neg().log().neg().to(like, non_blocking=True)


class GumbelSoftmax(OpRelaxation):
    """Draws of the concrete distribution: softmax((log p + g) / τ) on every edge.

    p are the weights of another relaxation, which must be probabilities: rows that sum to one. g
    is standard Gumbel noise, drawn anew for each edge and each kind of cell in every training
    step. The largest entry is entry m with probability p_m at any τ; a low τ brings the draw near
    to one-hot (Maddison et al.; Jang et al.; both ICLR 2017). Validation and discretisation read p.

    Args:
        inner: α → p.
        temperature: τ.
    """

    def __init__(self, inner: OpRelaxation, temperature: float) -> None:
        self.inner = inner
        self.temperature = temperature

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """That of the inner relaxation (E, O)."""
        return self.inner.initial(cell, generator)

    def weights(self, alpha: Tensor) -> Tensor:
        """The probabilities p (E, O)."""
        return self.inner.weights(alpha)

    def sample(self, alpha: Tensor, generator: torch.Generator) -> Tensor:
        """A draw (E, O) whose rows sum to one; differentiable in α."""
        logits = self.weights(alpha).clamp_min(SMALLEST).log()
        return ((logits + gumbel(logits, generator)) / self.temperature).softmax(dim=-1)

    def project_(self, alpha: Tensor) -> None:
        """As the inner relaxation does."""
        self.inner.project_(alpha)


class HardGumbel(GumbelSoftmax):
    """The largest entry of such a draw as exactly one-hot weights, with the draw's gradient."""

    one_hot = True

    def sample(self, alpha: Tensor, generator: torch.Generator) -> Tensor:
        """One-hot rows (E, O); the gradient is that of the soft draw (straight-through)."""
        soft = super().sample(alpha, generator)
        hard = F.one_hot(soft.argmax(dim=-1), soft.shape[-1]).to(soft)
        # in this order: the difference is exactly zero, so the values are exactly one-hot
        return hard + (soft - soft.detach())


class GumbelSampling(SearchStrategy, ABC):
    """Draw operations at a temperature that falls linearly over the run.

    Args:
        tau: τ in the first epoch.
        tau_end: τ in the last epoch.

    Raises:
        UsageError: A temperature is not positive.
    """

    relaxation: ClassVar[type[GumbelSoftmax]]
    """What draws."""

    def __init__(self, tau: float, tau_end: float) -> None:
        if min(tau, tau_end) <= 0:
            name = type(self).__name__
            raise UsageError(f"{name}: tau {tau} and tau_end {tau_end} must be positive")
        self.tau = tau
        self.tau_end = tau_end

    def configure(self, plan: SearchPlan) -> None:
        """Draw from whatever relaxation the plan has in the end."""
        plan.fill(OP_SAMPLING, self.sampled, by=self)

    def sampled(self, inner: OpRelaxation) -> OpRelaxation:
        """Draws from the inner relaxation's weights."""
        return self.relaxation(inner, self.tau)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set τ; a run that goes on within an epoch skips that epoch's start."""
        self._anneal(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set τ of the epoch, a function of the epoch alone."""
        self._anneal(trainer, pl_module)

    def _anneal(self, trainer: Trainer, pl_module: LightningModule) -> None:
        done = trainer.current_epoch / max(1, planned_epochs(trainer) - 1)
        assert isinstance(pl_module, SearchModule)
        assert isinstance(pl_module.arch.ops, GumbelSoftmax)
        pl_module.arch.ops.temperature = self.tau + (self.tau_end - self.tau) * done


@final
class SNAS(GumbelSampling):
    """Mix with soft draws of the concrete distribution (SNAS: Xie et al., ICLR 2019).

    Weights of operations are softmax((log p + g) / τ), p the softmax of α (or, with
    `ExponentiatedGradient`, α itself). All operations run. The paper trains α and weights on the
    same loss: list `SingleLevel` beside it. Fills: operation sampling. Cost: none.

    Args:
        tau: τ in the first epoch.
        tau_end: τ in the last epoch; between them it falls linearly.

    Raises:
        UsageError: A temperature is not positive.
    """

    relaxation = GumbelSoftmax

    def __init__(self, tau: float = 1.0, tau_end: float = 0.03) -> None:
        super().__init__(tau, tau_end)


@final
class GDAS(GumbelSampling):
    """Run one drawn operation an edge, with the gradient of a soft draw (GDAS, CVPR 2019).

    The weights are the one-hot argmax of softmax((log p + g) / τ), their gradient is that of the
    softmax: the weight of the operation that ran depends on all α of its edge, so all of them
    learn. p is the softmax of α (or, with `ExponentiatedGradient`, α itself). Fills: operation
    sampling. Cost: one operation an edge runs in place of all, in time and in memory. Weights of
    the others get no gradient in a step, which DDP must be told.

    Args:
        tau: τ in the first epoch.
        tau_end: τ in the last epoch; between them it falls linearly.

    Raises:
        UsageError: A temperature is not positive.
    """

    leaves_parameters_unused = True
    relaxation = HardGumbel

    def __init__(self, tau: float = 10.0, tau_end: float = 0.1) -> None:
        super().__init__(tau, tau_end)
