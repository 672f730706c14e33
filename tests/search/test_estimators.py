"""Every estimator of the architecture gradient against matrices and the exact gradient."""

from dataclasses import replace

import pytest
import torch

from docs.examples.estimators import (
    Problem,
    counted,
    estimators,
    exact_hypergradient,
    logistic,
    quadratic,
)
from nas_lightning.search import ArchGradient, first_order
from nas_lightning.strategies.amended import amended_gradient
from nas_lightning.strategies.neumann import neumann_gradient
from nas_lightning.strategies.unrolled import unrolled_gradient
from tests.search.hypergradient import (
    exact_amended,
    exact_neumann,
    exact_unrolled,
    network,
    relative_error,
    resolved_difference,
    toy,
)

PROBLEMS = {
    "toy": toy(-2.0, 2.0),
    "toy, solved": toy(0.5, 0.5),
    "quadratic": quadratic(),
    **{f"network {seed}": network(seed) for seed in range(4)},
    **{f"logistic {seed}": logistic(seed, 0.1) for seed in range(2)},
}
SMOOTH = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS.keys())
EXACT = pytest.mark.parametrize(
    ("exact", "tolerance"), [(False, 1e-6), (True, 1e-10)], ids=["differences", "double backward"]
)
CONDITION = pytest.mark.parametrize("penalty", [0.1, 0.001], ids=["well", "ill"])


@SMOOTH
def test_first_order_is_the_direct_term(problem: Problem) -> None:
    found = first_order(problem.bilevel())[0]
    torch.testing.assert_close(found, problem.slopes(problem.outer)[1], rtol=1e-12, atol=0)


@EXACT
@SMOOTH
def test_amended_is_the_product_with_the_matrices(
    problem: Problem, exact: bool, tolerance: float
) -> None:
    found = amended_gradient(problem.bilevel(), 0.1, exact=exact, epsilon=1e-4).gradient[0]
    assert relative_error(found, exact_amended(problem, 0.1)) < tolerance


@EXACT
@pytest.mark.parametrize("terms", [0, 1, 6])
@SMOOTH
def test_neumann_is_the_product_with_the_matrices(
    problem: Problem, terms: int, exact: bool, tolerance: float
) -> None:
    found, _ = neumann_gradient(problem.bilevel(), 0.3, terms, exact=exact, epsilon=1e-4)
    assert relative_error(found.gradient[0], exact_neumann(problem, 0.3, terms)) < tolerance


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@SMOOTH
def test_unrolled_is_autograd_through_the_step(problem: Problem, momentum: float) -> None:
    seen = problem.bilevel(lr=0.3, momentum=momentum, weight_decay=0.01)
    assert seen.weight_optimizer is not None
    for _ in range(2):  # fill the momentum buffer
        seen.weight_optimizer.zero_grad()
        torch.autograd.backward(seen.inner(), inputs=[seen.weights["w"]])
        seen.weight_optimizer.step()
    found = unrolled_gradient(seen, epsilon=1e-4)[0]
    assert relative_error(found, exact_unrolled(problem, seen)) < 1e-6


@CONDITION
@pytest.mark.parametrize("seed", range(3))
def test_the_ruler_is_the_derivative_at_weights_solved_again(seed: int, penalty: float) -> None:
    problem = logistic(seed, penalty)
    assert problem.slopes(problem.inner)[0].norm() < 1e-12
    assert relative_error(exact_hypergradient(problem), resolved_difference(problem)) < 1e-6


def test_the_ruler_on_closed_forms() -> None:
    assert exact_hypergradient(quadratic()).item() == pytest.approx(1.25, rel=1e-12)
    assert exact_hypergradient(toy(3.0, 3.0)).item() == pytest.approx(2 * 3.0 - 2, rel=1e-12)


@pytest.mark.parametrize("terms", [0, 1, 5, 50])
def test_neumann_on_the_quadratic_problem(terms: int) -> None:
    """Along each eigenvector 1/λ becomes (1 - (1 - ξλ)^(K+1)) / λ: 0.2 at K = 0, 1.25 at last."""
    found, last = neumann_gradient(quadratic().bilevel(), 0.1, terms)
    expected = (1 - 0.9 ** (terms + 1)) + 0.25 * (1 - 0.6 ** (terms + 1))
    assert found.gradient[0].item() == pytest.approx(expected, rel=1e-8)
    summand = torch.tensor([0.9**terms, 0.5 * 0.6**terms])
    assert last.item() == pytest.approx(summand.norm().item() / 1.25**0.5, rel=1e-6)


@CONDITION
@pytest.mark.parametrize("share", [0.5, 1.0, 1.9])
def test_neumann_converges_to_the_ruler_at_a_geometric_rate(share: float, penalty: float) -> None:
    problem = logistic(0, penalty)
    hessian, mixed = problem.second()
    values = torch.linalg.eigvalsh(hessian)
    rate = share / float(values[-1])
    shrink = float((1 - rate * values).abs().max())
    if share <= 1:
        assert shrink == pytest.approx(1 - rate * float(values[0]))
    sensitivity = torch.linalg.matrix_norm(torch.linalg.solve(hessian, mixed.T), ord=2)
    start = float(sensitivity * problem.slopes(problem.outer)[0].norm())
    ruler = exact_hypergradient(problem)
    for terms in (0, 1, 5, 20, 100):
        found, last = neumann_gradient(problem.bilevel(), rate, terms, exact=True)
        error = float((found.gradient[0] - ruler).norm())
        assert error <= start * shrink ** (terms + 1) * (1 + 1e-9)
        assert last <= shrink**terms * (1 + 1e-9)
    found, _ = neumann_gradient(problem.bilevel(), rate, 3000, exact=True)
    assert relative_error(found.gradient[0], ruler) < 1e-9


@EXACT
def test_neumann_diverges_at_a_rate_above_two_over_the_largest_eigenvalue(
    exact: bool, tolerance: float
) -> None:
    problem = logistic(0, 0.1)
    rate = 2.2 / float(torch.linalg.eigvalsh(problem.second()[0])[-1])
    ruler = exact_hypergradient(problem)
    seen = [neumann_gradient(problem.bilevel(), rate, k, exact=exact) for k in (20, 40, 60)]
    errors = [relative_error(found.gradient[0], ruler) for found, _ in seen]
    growth = [float(last) for _, last in seen]
    for values in (errors, growth):
        assert values[0] > 1
        assert values[1] / values[0] == pytest.approx(1.2**20, rel=0.05)
        assert values[2] / values[1] == pytest.approx(1.2**20, rel=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_at_the_optimal_weights_the_unrolled_gradient_is_the_first_term(seed: int) -> None:
    problem = logistic(seed, 0.1)
    unrolled = unrolled_gradient(problem.bilevel(lr=0.3))[0]
    found, last = neumann_gradient(problem.bilevel(), 0.3, 0)
    assert relative_error(unrolled, found.gradient[0]) < 1e-9
    assert last == 1


@pytest.mark.parametrize(
    "estimator",
    [
        *estimators(logistic(0, 0.1), 0.3).values(),
        lambda seen: amended_gradient(seen, 0.1, exact=True).gradient,
        lambda seen: neumann_gradient(seen, 0.3, 3, exact=True)[0].gradient,
    ],
    ids=[*estimators(logistic(0, 0.1), 0.3), "amended, exact", "Neumann, exact"],
)
def test_every_derivative_is_a_mean_over_the_processes(
    estimator: ArchGradient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With twice each derivative in place of its mean they are those of twice the losses."""
    problem = logistic(0, 0.1)
    twice = replace(
        problem,
        inner=lambda w, a: 2 * problem.inner(w, a),
        outer=lambda w, a: 2 * problem.outer(w, a),
    )
    expected = estimator(twice.bilevel(lr=0.3))[0]
    monkeypatch.setattr(
        "nas_lightning.search.bilevel.mean_over_ranks",
        lambda tensors: tuple(2 * tensor for tensor in tensors),
    )
    torch.testing.assert_close(estimator(problem.bilevel(lr=0.3))[0], expected)


def test_costs() -> None:
    """Forward and backward passes by differences, as the methods' pages have them."""
    problem, expected = logistic(0, 0.1), {"first order": 1, "unrolled": 4, "amended, η = 0.1": 5}
    expected |= {"amended, best η": 5, **{f"Neumann, K = {k}": 3 + 2 * k for k in (1, 5, 20, 100)}}
    for name, estimator in estimators(problem, 0.3).items():
        passes: list[str] = []
        estimator(counted(problem.bilevel(lr=0.3), passes))
        assert len(passes) == expected.pop(name), name
    assert not expected


@pytest.mark.parametrize("terms", [0, 3])
def test_double_backward_evaluates_each_loss_once(terms: int) -> None:
    passes: list[str] = []
    neumann_gradient(counted(logistic(0, 0.1).bilevel(), passes), 0.3, terms, exact=True)
    assert passes == ["outer", "inner"]
