"""The amended architecture gradient (Amended-DARTS)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.search import ARCH_GRADIENT, ArchStep, BilevelProblem, SearchPlan, SearchStrategy
from nas_lightning.search.differences import TINY, central_difference, dot, norm

if TYPE_CHECKING:
    from nas_lightning.search import SearchModule


@dataclass(frozen=True)
class Amendment:
    """The amended gradient and what it is made of.

    Attributes:
        gradient: g1 + g2', one tensor for each architecture parameter.
        cosine: Cosine of g1 and g2' (); 0 if one of them vanishes.
        ratio: |g2'| / |g1| before clipping ().
        clipped: Whether the clip applied, 0 or 1 ().
    """

    gradient: tuple[Tensor, ...]
    cosine: Tensor
    ratio: Tensor
    clipped: Tensor


def amended_gradient(
    problem: BilevelProblem,
    coefficient: float,
    clip: float | None = None,
    exact: bool = False,
    epsilon: float = 0.01,
) -> Amendment:
    """g1 - η B H v at the present weights.

    g1 = d outer / dα, v = d outer / dw, H = d² inner / dw², B = d² inner / dα dw.

    Args:
        problem: Inner and outer loss.
        coefficient: η.
        clip: Largest norm of η B H v in units of |g1|; none for no clipping.
        exact: By double backward instead of finite differences.
        epsilon: Length of the finite-difference steps in w.
    """
    arch, weights = list(problem.arch.values()), list(problem.weights.values())
    both = problem.grad(problem.outer(), [*arch, *weights])
    direct, v = both[: len(arch)], both[len(arch) :]
    if exact:
        slope = torch.autograd.grad(problem.inner(), weights, create_graph=True)
        hv = problem.grad(dot(slope, v), weights, retain_graph=True)
        bhv = problem.grad(dot(slope, hv), arch)
    else:
        hv = central_difference(problem, weights, v, epsilon)
        bhv = central_difference(problem, arch, hv, epsilon)
    amendment = tuple(-coefficient * term for term in bhv)
    size, reference = norm(amendment), norm(direct)
    cosine = dot(direct, amendment) / (size * reference).clamp_min(TINY)
    ratio = size / reference.clamp_min(TINY)
    scale = torch.ones_like(ratio) if clip is None else (clip / ratio.clamp_min(TINY)).clamp_max(1)
    gradient = tuple(d + scale * a for d, a in zip(direct, amendment, strict=True))
    return Amendment(gradient, cosine, ratio, (scale < 1).to(scale))


@final
class AmendedGradient(SearchStrategy):
    """Amend the architecture gradient by an estimate of its implicit term (Bi et al., 2019).

    The true gradient is g1 - B H⁻¹ v; the amendment replaces H⁻¹ by η H, which needs no inverse.
    That the two terms are within 90 degrees holds only under conditions, see
    `docs/methods/amended.md`. Fills: architecture gradient. Cost: 5 forward and backward passes
    an architecture step in place of 1 (`exact`: 2 forward and 4 backward passes, and the memory
    of a graph of gradients). Computed in full precision whatever the trainer's.

    Logged, as means over an epoch: `amended/cosine` of the two terms, `amended/ratio` of their
    norms before clipping, and how often it was `amended/clipped`.

    Args:
        coefficient: η. It multiplies H, so it is not free of scale.
        clip: Largest norm of the amendment in units of |g1|; none for no clipping.
        exact: By double backward instead of finite differences.
        epsilon: Length of the finite-difference steps in w; 0.01 as in DARTS' code.

    Raises:
        UsageError: An argument is out of range.
    """

    def __init__(
        self,
        coefficient: float = 0.1,
        clip: float | None = 1.0,
        exact: bool = False,
        epsilon: float = 0.01,
    ) -> None:
        if coefficient <= 0 or epsilon <= 0 or (clip is not None and clip <= 0):
            raise UsageError("AmendedGradient: coefficient, clip and epsilon must be positive")
        self.coefficient = coefficient
        self.clip = clip
        self.exact = exact
        self.epsilon = epsilon
        self._last: Amendment | None = None

    def configure(self, plan: SearchPlan) -> None:
        """Take the gradient over."""
        plan.fill(ARCH_GRADIENT, self.amended, by=self)

    def amended(self, problem: BilevelProblem) -> tuple[Tensor, ...]:
        """The amended gradient, in full precision."""
        device = next(iter(problem.weights.values())).device.type
        with torch.autocast(device, enabled=False):
            self._last = amended_gradient(
                problem, self.coefficient, self.clip, self.exact, self.epsilon
            )
        return self._last.gradient

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        """Log what the amendment did."""
        assert self._last is not None
        for name in ("cosine", "ratio", "clipped"):
            value = getattr(self._last, name)
            module.log(f"amended/{name}", value, on_step=False, on_epoch=True, rank_zero_only=True)
        self._last = None
