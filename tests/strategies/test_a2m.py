"""A²M: its direction against closed forms, what it leaves alone, and combinations."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from docs.examples.estimators import Problem, estimators, quadratic
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import BilevelProblem, SearchStrategy, first_order
from nas_lightning.strategies import (
    A2M,
    GDAS,
    SNAS,
    BinaryGates,
    EdgeNormalization,
    ExponentiatedGradient,
    RobustDARTS,
)
from nas_lightning.strategies.a2m import flat_gradient
from nas_lightning.supernet import Mixing
from nas_lightning.supernet.relaxation import Step
from tests.conftest import SearchFactory, TrainerFactory
from tests.recorded import run, same
from tests.search.hypergradient import network, relative_error, supernet

RHO = 0.3


def curvature(problem: Problem, at: Tensor) -> Tensor:
    """d² outer / dα² (A, A)."""
    function = partial(problem.outer, problem.w)
    found = torch.autograd.functional.hessian(function, at)  # type: ignore[no-untyped-call] # of torch
    assert isinstance(found, Tensor)
    return found


def slope(problem: Problem, at: Tensor) -> Tensor:
    """d outer / dα (A,)."""
    a = at.clone().requires_grad_()
    return torch.autograd.grad(problem.outer(problem.w, a), a)[0]


def bowl() -> Problem:
    """A quadratic of α whose Hessian is no multiple of the identity."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    linear, at = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    return Problem(
        inner=lambda w, a: (w - a[:1]).square().sum(),
        outer=lambda w, a: (root @ a).square().sum() / 2 + linear @ a,
        w=torch.ones(1, dtype=torch.float64),
        a=at,
    )


def test_on_a_quadratic_it_is_the_square_of_one_plus_rho_h() -> None:
    problem = bowl()
    g = slope(problem, problem.a)
    factor = torch.eye(4, dtype=torch.float64) + RHO * curvature(problem, problem.a)
    found = flat_gradient(first_order, problem.bilevel(), RHO, 0.01)[0]
    torch.testing.assert_close(found, factor @ factor @ g, rtol=1e-11, atol=0)


@pytest.mark.parametrize("seed", range(3))
def test_the_curvature_is_that_at_the_ascended_point(seed: int) -> None:
    problem = network(seed)
    ascended = problem.a + 5 * slope(problem, problem.a)
    ahead = slope(problem, ascended)
    expected = ahead + 5 * curvature(problem, ascended) @ ahead
    found = flat_gradient(first_order, problem.bilevel(), 5, 1e-3)[0]
    assert relative_error(found, expected) < 1e-7
    elsewhere = ahead + 5 * curvature(problem, problem.a) @ ahead
    assert relative_error(found, elsewhere) > 1e-5


@pytest.mark.parametrize("name", ["unrolled", "amended, η = 0.1", "Neumann, K = 5"])
def test_around_every_estimator(name: str) -> None:
    """On a quadratic problem each estimate G is linear in α up to a constant."""
    problem = quadratic()
    estimate = estimators(problem, rate=0.25)[name]
    seen = problem.bilevel(lr=0.1, momentum=0.0)
    alpha = seen.arch["alpha"]

    def at(value: Tensor) -> Tensor:
        with torch.no_grad():
            kept = alpha.clone()
            alpha.copy_(value)
        found = estimate(seen)[0]
        with torch.no_grad():
            alpha.copy_(kept)
        return found

    start = alpha.detach().clone()
    ahead = at(start + RHO * at(start))
    expected = ahead + RHO * (at(start + ahead) - at(start))
    found = flat_gradient(estimate, seen, RHO, 0.5)[0]
    assert relative_error(found, expected) < 1e-6
    assert torch.equal(alpha, start)


def test_on_a_supernet_as_double_backward_has_it(
    make_search: SearchFactory, search_data: Synthetic
) -> None:
    module = make_search([EdgeNormalization()])  # β is moved as α is
    problem = supernet(module, search_data)
    arch = list(problem.arch.values())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    # steps so short that no ReLU switches between the two ends
    found = flat_gradient(first_order, problem, 0.5, 1e-6)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    ascent = first_order(problem)
    with torch.no_grad():
        for value, along in zip(arch, ascent, strict=True):
            value.add_(along, alpha=0.5)
    ahead = torch.autograd.grad(problem.outer(), arch, create_graph=True)
    products = torch.autograd.grad(ahead, arch, grad_outputs=[g.detach() for g in ahead])
    for mine, g, product in zip(found, ahead, products, strict=True):
        torch.testing.assert_close(mine, g.detach() + 0.5 * product, rtol=1e-5, atol=1e-8)


def test_alpha_comes_back_from_an_error(make_search: SearchFactory) -> None:
    problem = bowl().bilevel()
    alpha, calls = problem.arch["alpha"], []
    before = alpha.detach().clone()

    def third_fails(problem: BilevelProblem) -> tuple[Tensor, ...]:
        calls.append(alpha.detach().clone())
        if len(calls) == 3:
            raise ArithmeticError
        return first_order(problem)

    with pytest.raises(ArithmeticError):
        flat_gradient(third_fails, problem, RHO, 0.01)
    assert not any(torch.equal(a, before) for a in calls[1:])
    assert torch.equal(alpha, before)


def test_without_ascent_the_search_is_that_of_darts(tmp_path: Path) -> None:
    traces = [run(strategies, tmp_path).trace for strategies in ([], [A2M(0.0)])]
    assert same(*traces)


@pytest.mark.parametrize("sampler", [SNAS(), GDAS()])
def test_all_gradients_of_a_step_have_the_same_draws(
    sampler: SearchStrategy,
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    module = make_search([sampler, A2M(0.1)])
    states: list[Tensor] = []
    sample = module.arch.sample

    def seen(step: Step) -> Mixing:
        if step == "arch":
            states.append(module.arch.generator.get_state())
        return sample(step)

    module.arch.sample = seen  # type: ignore[method-assign]
    make_trainer(limit_train_batches=2, limit_val_batches=0).fit(module, datamodule=search_data)
    assert len(states) == 8
    assert all(torch.equal(state, states[0]) for state in states[:4])
    assert all(torch.equal(state, states[4]) for state in states[4:])
    assert not torch.equal(states[0], states[4])


@pytest.mark.parametrize("other", [ExponentiatedGradient(), BinaryGates()])
@pytest.mark.parametrize("first", [True, False])
def test_what_it_cannot_be_combined_with(
    other: SearchStrategy, first: bool, make_search: SearchFactory
) -> None:
    strategies = [A2M(), other] if first else [other, A2M()]
    with pytest.raises(UsageError, match=f"A2M moves α within a step, {type(other).__name__}"):
        make_search(strategies)


def test_a_watch_over_the_curvature_comes_after_it(make_search: SearchFactory) -> None:
    make_search([A2M(), RobustDARTS()])
    with pytest.raises(UsageError, match="list A2M before RobustDARTS"):
        make_search([RobustDARTS(), A2M()])
