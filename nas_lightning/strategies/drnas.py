"""Mixing weights drawn from Dirichlet distributions whose concentrations are learned (DrNAS)."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.errors import UsageError
from nas_lightning.ranges import NOT_NEGATIVE, check
from nas_lightning.search import (
    OP_RELAXATION,
    OP_SAMPLING,
    SearchPlan,
    SearchStrategy,
    no_sampling,
)
from nas_lightning.supernet import ArchitectureParameters, OpRelaxation, Sample, SoftmaxOps, Step
from nas_lightning.supernet.draws import dirichlet

if TYPE_CHECKING:
    from nas_lightning.architecture import Cell

SMALLEST = 1e-6
"""Lower bound of concentrations: PyTorch draws only from positive ones."""


def concentration(alpha: Tensor) -> Tensor:
    """Return elu(α) + 1 (E, O), which is positive, and 0 where α is -inf."""
    return (F.elu(alpha) + 1).clamp_min(SMALLEST).masked_fill(alpha.isneginf(), 0)


def divergence(alpha: Tensor, kept: Tensor) -> Tensor:
    """Compute KL(Dir(c) || Dir(1)) of every row, summed (), with c = elu(α) + 1.

    Args:
        alpha: (E, O).
        kept: (E, O), False for operations that are removed; they have no part in it.
    """
    c = torch.where(kept, concentration(alpha), 1)
    total = (c * kept).sum(dim=-1)
    number = kept.sum(dim=-1).to(c)
    # an edge without operations has a divergence of zero
    total, number = (torch.where(kept.any(dim=-1), value, 1) for value in (total, number))
    own = (c - 1) * (c.digamma() - total.digamma()[:, None]) - c.lgamma()
    rows = total.lgamma() - number.lgamma() + (own * kept).sum(dim=-1)
    return rows.sum()


class DirichletOps(OpRelaxation):
    """Weights of an edge drawn from Dir(c) with c = elu(α) + 1.

    Validation and discretisation use the mean, c / Σ c. The gradient of a draw is pathwise.
    """

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """Draw α (E, O) from a normal distribution with standard deviation 1e-3."""
        return SoftmaxOps().initial(cell, generator)

    def weights(self, alpha: Tensor) -> Tensor:
        """Return the means (E, O), whose rows sum to one."""
        c = concentration(alpha)
        return c / c.sum(dim=-1, keepdim=True)

    def sample(self, cell: Cell, alpha: Tensor, generator: torch.Generator, step: Step) -> Sample:
        """Draw weights whose rows sum to one; differentiable in α, and alike in both steps.

        Some entries of a Dirichlet vector, divided by their sum, are a Dirichlet vector of their
        concentrations. Operations that are removed are thus drawn too, and then left out.
        """
        removed = alpha.isneginf()
        # the others may share very little, so the division is not for single precision
        c = concentration(alpha).masked_fill(removed, 1).double()
        drawn = dirichlet(c, generator).masked_fill(removed, 0)
        return Sample((drawn / drawn.sum(dim=-1, keepdim=True)).to(alpha))


@final
class DrNAS(SearchStrategy):
    """Learn a distribution of the mixing weights of each edge (DrNAS: Chen et al., ICLR 2021).

    In each training step the weights of an edge are drawn from a Dirichlet distribution with the
    concentrations c = elu(α) + 1. α gets the pathwise gradient of the draw, so that it minimises
    the expected outer loss. c starts near 1, where draws are uniform on the simplex; the larger c,
    the closer draws are to the mean c / Σ c. Validation and discretisation use the mean.

    The paper keeps c near 1 by a penalty. That of the published settings is the weight decay of
    α's Adam, 1e-3, which is no part of this strategy. The other one is
    kl · Σ over edges of KL(Dir(c) || Dir(1)).

    Fills: operation relaxation and operation sampling. Adds a penalty. Cost: none.

    Args:
        kl: Weight of the divergence; 0 for none.

    Raises:
        UsageError: `kl` is negative.
    """

    def __init__(self, kl: float = 0.0) -> None:
        self.kl = kl
        check(self, kl=NOT_NEGATIVE)

    def configure(self, plan: SearchPlan) -> None:
        """Fill relaxation and sampling, and add the penalty.

        Raises:
            UsageError: Another strategy needs a draw to be a smooth function of α.
        """
        for other in plan.strategies:
            if other.differentiates_alpha_twice:
                raise UsageError(
                    f"conflicting strategies: DrNAS draws weights that can be differentiated by α "
                    f"only once, {type(other).__name__} needs more; keep one of them"
                )
        plan.fill(OP_RELAXATION, DirichletOps(), by=self)
        # it samples by itself: no other strategy may sample from its draws
        plan.fill(OP_SAMPLING, no_sampling, by=self)
        if self.kl:
            plan.add_penalty(self.penalty, by=self)

    def penalty(self, arch: ArchitectureParameters) -> Tensor:
        """Return kl · Σ over edges of KL(Dir(c) || Dir(1)) over the operations that run ()."""
        terms = []
        for kind, alpha in arch.alpha.items():
            every = torch.ones_like(alpha, dtype=torch.bool)
            kept = every if arch.survivors is None else arch.survivors.kept(kind)
            terms.append(divergence(alpha, kept))
        return self.kl * torch.stack(terms).sum()
