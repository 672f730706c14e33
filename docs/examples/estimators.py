"""Compare the estimators of the architecture gradient with the exact one: accuracy and cost.

The script prints a table for 10 well-conditioned problems, 10 ill-conditioned ones and a quadratic
one, all in float64 and at their optimal weights: the relative error of each estimator, its cosine
to the exact gradient, and its number of forward and backward passes. Finite differences use the
default step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.search import ArchGradient, BilevelProblem, first_order
from nas_lightning.strategies.amended import amended_gradient
from nas_lightning.strategies.neumann import neumann_gradient
from nas_lightning.strategies.unrolled import unrolled_gradient

Loss = Callable[[Tensor, Tensor], Tensor]
"""Function from weights w (W,) and architecture parameters α (A,) to a loss ()."""


@dataclass(frozen=True)
class Problem:
    """A bilevel problem at a point (w, α), in float64 and without gradients."""

    inner: Loss
    outer: Loss
    w: Tensor
    a: Tensor

    def solved(self) -> Problem:
        """Return the problem at the optimal weights w*(α), found with Newton's method."""
        here = self
        for _ in range(30):
            slope = here.slopes(self.inner)[0]
            if slope.norm() < 1e-14:
                break
            here = replace(here, w=here.w - torch.linalg.solve(here.second()[0], slope))
        return here

    def slopes(self, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return the derivatives of a loss with respect to w (W,) and α (A,)."""
        w, a = self.w.clone().requires_grad_(), self.a.clone().requires_grad_()
        by_w, by_a = torch.autograd.grad(loss(w, a), [w, a])
        return by_w, by_a

    def second(self) -> tuple[Tensor, Tensor]:
        """Return H = d² inner / dw² (W, W) and B = d² inner / dα dw (A, W)."""
        point = (self.w, self.a)
        # this torch function has no type annotations
        whole = torch.autograd.functional.hessian(self.inner, point)  # type: ignore[no-untyped-call] # of torch
        (hessian, _), (mixed, _) = whole
        return hessian, mixed

    def bilevel(self, **sgd: Any) -> BilevelProblem:
        """Return the problem in the form that estimators take.

        Args:
            **sgd: Arguments of the weight optimizer.
        """
        w, a = self.w.clone().requires_grad_(), self.a.clone().requires_grad_()
        return BilevelProblem(
            inner=lambda: self.inner(w, a),
            outer=lambda: self.outer(w, a),
            weights={"w": w},
            arch={"alpha": a},
            weight_optimizer=torch.optim.SGD([w], **sgd),
        )


def exact_hypergradient(problem: Problem) -> Tensor:
    """Return d outer(w*(α), α) / dα (A,), where w is w*(α): g1 - B H⁻¹ v."""
    v, direct = problem.slopes(problem.outer)
    hessian, mixed = problem.second()
    solution: Tensor = torch.linalg.solve(hessian, v)
    return direct - mixed @ solution


def logistic(seed: int, penalty: float) -> Problem:
    """Logistic regression on four maps of 6 features that softmax(α) mixes.

    Args:
        seed: Seed of all random numbers.
        penalty: Factor of penalty / 2 · |w|² in the inner loss. The smaller it is, the worse H is
            conditioned.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    kernels, truth = draw(4, 6, 6), draw(6)

    def half() -> Loss:
        x = draw(40, 6)
        sign = (x @ truth + draw(40)).sign()
        maps = 3 * torch.tanh(x @ kernels)  # (A, 40, 6)

        def loss(w: Tensor, a: Tensor) -> Tensor:
            features = torch.einsum("a,anf->nf", a.softmax(dim=0), maps)
            return F.softplus(-sign * (features @ w)).mean()

        return loss

    train, val = half(), half()
    start = torch.zeros(6, dtype=torch.float64)
    return Problem(lambda w, a: train(w, a) + 0.5 * penalty * w @ w, val, start, draw(4)).solved()


def quadratic() -> Problem:
    """H = diag(1, 4), B = (-1, -2), v = w; at α = 1 the implicit term is 1.25, the direct one 0."""
    curvature = torch.tensor([1.0, 4.0], dtype=torch.float64)
    coupling = torch.tensor([1.0, 2.0], dtype=torch.float64)
    return Problem(
        inner=lambda w, a: 0.5 * curvature @ w**2 - coupling @ w * a.sum(),
        outer=lambda w, a: 0.5 * w @ w + 0.0 * a.sum(),
        w=torch.zeros(2, dtype=torch.float64),
        a=torch.ones(1, dtype=torch.float64),
    ).solved()


def best_coefficient(problem: Problem) -> float:
    """Return the η ≥ 0 with the least error of the amended gradient; needs the exact gradient."""
    v, direct = problem.slopes(problem.outer)
    hessian, mixed = problem.second()
    amendment, missing = mixed @ hessian @ v, direct - exact_hypergradient(problem)
    return max(float(amendment @ missing / (amendment @ amendment)), 0.0)


def amended(seen: BilevelProblem, coefficient: float) -> tuple[Tensor, ...]:
    return amended_gradient(seen, coefficient).gradient


def neumann(seen: BilevelProblem, rate: float, terms: int) -> tuple[Tensor, ...]:
    return neumann_gradient(seen, rate, terms)[0].gradient


def estimators(problem: Problem, rate: float) -> dict[str, ArchGradient]:
    """Return the estimators to compare, by name."""
    return {
        "first order": first_order,
        "unrolled": unrolled_gradient,
        "amended, η = 0.1": partial(amended, coefficient=0.1),
        "amended, best η": partial(amended, coefficient=best_coefficient(problem)),
        "Neumann, K = 1": partial(neumann, rate=rate, terms=1),
        "Neumann, K = 5": partial(neumann, rate=rate, terms=5),
        "Neumann, K = 20": partial(neumann, rate=rate, terms=20),
        "Neumann, K = 100": partial(neumann, rate=rate, terms=100),
    }


def counted(problem: BilevelProblem, passes: list[str]) -> BilevelProblem:
    """Record each evaluation of a loss; with finite differences each has one backward pass."""

    def noted(name: str, loss: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def evaluate() -> Tensor:
            passes.append(name)
            return loss()

        return evaluate

    inner, outer = noted("inner", problem.inner), noted("outer", problem.outer)
    return replace(problem, inner=inner, outer=outer)


def compare(title: str, problems: Sequence[Problem]) -> None:
    """Print the table of a list of problems; ξ is 1 over the largest eigenvalue of H."""
    errors: dict[str, list[float]] = defaultdict(list)
    cosines: dict[str, list[float]] = defaultdict(list)
    cost: dict[str, int] = {}
    conditions, coefficients = [], []
    for problem in problems:
        values = torch.linalg.eigvalsh(problem.second()[0])
        rate = 1 / float(values[-1])
        conditions.append(float(values[-1] / values[0]))
        coefficients.append(best_coefficient(problem))
        exact = exact_hypergradient(problem)
        for name, estimator in estimators(problem, rate).items():
            passes: list[str] = []
            found = estimator(counted(problem.bilevel(lr=rate), passes))[0]
            errors[name].append(float((found - exact).norm() / exact.norm()))
            cosines[name].append(float(F.cosine_similarity(found, exact, dim=0)))
            cost[name] = len(passes)
    print(f"{title}: condition of H {min(conditions):.3g} to {max(conditions):.3g}, "
          f"best η {min(coefficients):.3g} to {max(coefficients):.3g}\n")  # fmt: skip
    print("| estimator | passes | median error | largest error | median cosine | least cosine |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, passed in cost.items():
        error, cosine = errors[name], cosines[name]
        print(f"| {name} | {passed} | {median(error):.1%} | {max(error):.1%} | "
              f"{median(cosine):.3f} | {min(cosine):.3f} |")  # fmt: skip


def main() -> None:
    """Print the tables."""
    compare("Well-conditioned", [logistic(seed, penalty=0.1) for seed in range(10)])
    print()
    compare("Ill-conditioned", [logistic(seed, penalty=0.001) for seed in range(10)])
    print()
    compare("Quadratic", [quadratic()])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
