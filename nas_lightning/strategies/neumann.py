"""The implicit architecture gradient by a truncated Neumann series (iDARTS)."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from nas_lightning.ranges import POSITIVE, at_least, check
from nas_lightning.search import ARCH_GRADIENT, ArchStep, BilevelProblem, SearchPlan, SearchStrategy
from nas_lightning.search.differences import TINY, TwoTerms, norm, second_derivative, two_terms

if TYPE_CHECKING:
    from nas_lightning.search import SearchModule


def neumann_gradient(
    problem: BilevelProblem,
    rate: float,
    terms: int,
    clip: float | None = None,
    exact: bool = False,
    epsilon: float = 0.01,
) -> tuple[TwoTerms, Tensor]:
    """Compute g1 - ξ B · (sum over j = 0 … K of (I - ξH)^j v) at the current weights.

    g1 = d outer / dα, v = d outer / dw, H = d² inner / dw², B = d² inner / dα dw. If every
    eigenvalue of H lies between 0 and 2/ξ, the sum times ξ tends to H⁻¹ v as K grows.

    Args:
        problem: Inner and outer loss.
        rate: ξ.
        terms: K, the number of products with H. With 0, the implicit term is -ξ B v.
        clip: Largest norm of the implicit term in units of |g1|; `None` means no clipping.
        exact: Use double backward instead of finite differences.
        epsilon: Length of the finite-difference steps in w.

    Returns:
        The gradient with its two terms, and the norm of the last summand divided by that of the
        first ().
    """
    arch, weights = list(problem.arch.values()), list(problem.weights.values())
    both = problem.grad(problem.outer(), [*arch, *weights])
    direct, v = both[: len(arch)], both[len(arch) :]
    product = second_derivative(problem, exact, epsilon)
    summand = total = v
    for _ in range(terms):
        curved = product(weights, summand)
        summand = tuple(s - rate * c for s, c in zip(summand, curved, strict=True))
        total = tuple(t + s for t, s in zip(total, summand, strict=True))
    implicit = [-rate * term for term in product(arch, total)]
    last = norm(summand) / norm(v).clamp_min(TINY)
    return two_terms(direct, implicit, clip), last


@final
class Neumann(SearchStrategy):
    """Estimate the implicit term by a truncated Neumann series (iDARTS: Zhang et al., ICML 2021).

    The true gradient is g1 - B H⁻¹ v. The series replaces H⁻¹ by ξ times the sum of (I - ξH)^j
    over j = 0 … K. It converges only if the spectral radius of I - ξH is below 1, that is, if all
    eigenvalues of H lie between 0 and 2/ξ. This is not the IDARTS of ICCV 2021. Fills:
    architecture gradient. Cost: 3 + 2K forward and backward passes per architecture step instead
    of 1 (`exact`: 2 forward and 3 + K backward passes, and the memory of a graph of gradients).
    Computed in full precision at any precision of the trainer.

    Logs, as means over an epoch, the cosine of the two terms (`neumann/cosine`), the ratio of
    their norms before clipping (`neumann/ratio`), the share of clipped steps (`neumann/clipped`),
    and the norm of the last summand divided by that of the first (`neumann/last_term`). If the
    last is above 1, the series diverges. If it is below 1, the series may still diverge, since v
    may have hardly any component along the diverging eigenvectors.

    Args:
        terms: K, the number of products with H.
        rate: ξ; `None` means the current learning rate of the weight optimizer.
        clip: Largest norm of the implicit term in units of |g1|; `None` means no clipping.
        exact: Use double backward instead of finite differences.
        epsilon: Length of the finite-difference steps in w; 0.01 as in the code of DARTS.

    Raises:
        UsageError: An argument is out of range.
    """

    logs = ("neumann/",)

    def __init__(
        self,
        terms: int = 1,
        rate: float | None = None,
        clip: float | None = 1.0,
        exact: bool = False,
        epsilon: float = 0.01,
    ) -> None:
        self.terms = terms
        self.rate = rate
        self.clip = clip
        self.exact = exact
        self.epsilon = epsilon
        check(self, terms=at_least(0), rate=POSITIVE, clip=POSITIVE, epsilon=POSITIVE)
        self._last: tuple[TwoTerms, Tensor] | None = None

    @property
    def differentiates_twice(self) -> bool:
        """True with `exact`."""
        return self.exact

    def configure(self, plan: SearchPlan) -> None:
        """Fill the architecture gradient."""
        plan.fill(ARCH_GRADIENT, self.neumann, by=self)

    def neumann(self, problem: BilevelProblem) -> tuple[Tensor, ...]:
        """Compute the gradient with the truncated series, in full precision."""
        rate = self.rate
        if rate is None:
            assert problem.weight_optimizer is not None
            rate = float(problem.weight_optimizer.param_groups[0]["lr"])
        device = next(iter(problem.weights.values())).device.type
        with torch.autocast(device, enabled=False):
            self._last = neumann_gradient(
                problem, rate, self.terms, self.clip, self.exact, self.epsilon
            )
        return self._last[0].gradient

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        """Log cosine, ratio, clipping and last term of the series."""
        assert self._last is not None
        found, last = self._last
        logged = {"cosine": found.cosine, "ratio": found.ratio, "clipped": found.clipped}
        named = {f"neumann/{name}": value for name, value in {**logged, "last_term": last}.items()}
        module.streams.mean(module, named)
        self._last = None
