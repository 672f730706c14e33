"""The amended architecture gradient (Amended-DARTS)."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from nas_lightning.ranges import POSITIVE, check
from nas_lightning.search import ARCH_GRADIENT, ArchStep, BilevelProblem, SearchPlan, SearchStrategy
from nas_lightning.search.differences import TwoTerms, second_derivative, two_terms

if TYPE_CHECKING:
    from nas_lightning.search import SearchModule


def amended_gradient(
    problem: BilevelProblem,
    coefficient: float,
    clip: float | None = None,
    exact: bool = False,
    epsilon: float = 0.01,
) -> TwoTerms:
    """Compute g1 - η B H v at the current weights.

    g1 = d outer / dα, v = d outer / dw, H = d² inner / dw², B = d² inner / dα dw.

    Args:
        problem: Inner and outer loss.
        coefficient: η.
        clip: Largest norm of η B H v in units of |g1|; `None` means no clipping.
        exact: Use double backward instead of finite differences.
        epsilon: Length of the finite-difference steps in w.
    """
    arch, weights = list(problem.arch.values()), list(problem.weights.values())
    both = problem.grad(problem.outer(), [*arch, *weights])
    direct, v = both[: len(arch)], both[len(arch) :]
    product = second_derivative(problem, exact, epsilon)
    bhv = product(arch, product(weights, v))
    return two_terms(direct, [-coefficient * term for term in bhv], clip)


@final
class AmendedGradient(SearchStrategy):
    """Amend the architecture gradient by an estimate of its implicit term (Bi et al., 2019).

    The true gradient is g1 - B H⁻¹ v. The amendment replaces H⁻¹ by η H, which needs no inverse.
    The angle between the amendment and the true implicit term is below 90 degrees only under
    conditions, see `docs/methods/amended.md`. Fills: architecture gradient. Cost: 5 forward and
    backward passes per architecture step instead of 1 (`exact`: 2 forward and 4 backward passes,
    and the memory of a graph of gradients). Computed in full precision at any precision of the
    trainer.

    Logs, as means over an epoch, the cosine of g1 and the amendment (`amended/cosine`), the ratio
    of their norms before clipping (`amended/ratio`) and the share of clipped steps
    (`amended/clipped`).

    Args:
        coefficient: η. Its best value depends on the scale of H.
        clip: Largest norm of the amendment in units of |g1|; `None` means no clipping.
        exact: Use double backward instead of finite differences.
        epsilon: Length of the finite-difference steps in w; 0.01 as in the code of DARTS.

    Raises:
        UsageError: An argument is out of range.
    """

    logs = ("amended/",)

    def __init__(
        self,
        coefficient: float = 0.1,
        clip: float | None = 1.0,
        exact: bool = False,
        epsilon: float = 0.01,
    ) -> None:
        self.coefficient = coefficient
        self.clip = clip
        self.exact = exact
        self.epsilon = epsilon
        check(self, coefficient=POSITIVE, clip=POSITIVE, epsilon=POSITIVE)
        self._last: TwoTerms | None = None

    @property
    def differentiates_twice(self) -> bool:
        """True with `exact`."""
        return self.exact

    def configure(self, plan: SearchPlan) -> None:
        """Fill the architecture gradient."""
        plan.fill(ARCH_GRADIENT, self.amended, by=self)

    def amended(self, problem: BilevelProblem) -> tuple[Tensor, ...]:
        """Compute the amended gradient in full precision."""
        device = next(iter(problem.weights.values())).device.type
        with torch.autocast(device, enabled=False):
            self._last = amended_gradient(
                problem, self.coefficient, self.clip, self.exact, self.epsilon
            )
        return self._last.gradient

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        """Log cosine, ratio and clipping of the amendment."""
        assert self._last is not None
        names = ("cosine", "ratio", "clipped")
        logged = {f"amended/{name}": getattr(self._last, name) for name in names}
        module.streams.mean(module, logged)
        self._last = None
