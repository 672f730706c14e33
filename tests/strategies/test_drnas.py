"""DrNAS: draws, their gradient, the divergence, survivors, and what it cannot be combined with."""

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence

from nas_lightning.architecture import Cell, Edge
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchPlan, SearchStrategy
from nas_lightning.spaces import DartsSpace
from nas_lightning.strategies import (
    A2M,
    GDAS,
    SNAS,
    BetaDecay,
    BinaryGates,
    DrNAS,
    EdgeNormalization,
    ExponentiatedGradient,
    FairDARTS,
    PartialChannels,
    RobustDARTS,
    Unrolled,
)
from nas_lightning.strategies.drnas import DirichletOps, concentration, divergence
from nas_lightning.supernet import ArchitectureParameters, EqualEdges
from tests.conftest import SearchFactory

ALPHA = torch.tensor([0.3, -1.0, 1.2, 0.0, -0.4], dtype=torch.float64)
C = torch.tensor([1.3, 0.36787944117144233, 2.2, 1.0, 0.6703200460356393], dtype=torch.float64)
NUMBER = 20_000


def cell(edges: int) -> Cell:
    names = tuple(f"op_{m}" for m in range(5))
    return Cell("cell", edges, tuple(Edge(0, node + 1) for node in range(edges)), names)


def drawn(alpha: Tensor, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    found = DirichletOps().sample(cell(len(alpha)), alpha, generator, "arch")
    assert found.active is None  # all operations run
    return found.weights


def test_the_mean_of_the_draws_is_the_weight_of_the_genotype() -> None:
    torch.testing.assert_close(concentration(ALPHA), C)
    mean = DirichletOps().weights(ALPHA[None])[0]
    torch.testing.assert_close(mean, C / C.sum())
    found = drawn(ALPHA.expand(NUMBER, 5))
    torch.testing.assert_close(found.sum(1), torch.ones(NUMBER).double())
    # the variance of a share is m (1 - m) / (Σ c + 1)
    error = (mean * (1 - mean) / (C.sum() + 1) / NUMBER).sqrt()
    assert ((found.mean(0) - mean).abs() < 4 * error).all()


def test_the_gradient_through_a_draw_is_that_of_the_expected_loss() -> None:
    """The loss is a quadratic of the weights, whose expectation is known in closed form."""
    generator = torch.Generator().manual_seed(1)
    linear = torch.randn(5, dtype=torch.float64, generator=generator)
    root = torch.randn(5, 5, dtype=torch.float64, generator=generator)
    square = root @ root.T
    alpha = ALPHA.clone().requires_grad_()
    c = concentration(alpha)
    total = c.sum()
    moments = (torch.outer(c, c) + torch.diag(c)) / (total * (total + 1))
    (exact,) = torch.autograd.grad(linear @ c / total + (square * moments).sum(), alpha)
    p = drawn(alpha.expand(8 * NUMBER, 5))
    losses = p @ linear + ((p @ square) * p).sum(1)
    (found,) = torch.autograd.grad(losses.mean(), alpha)
    torch.testing.assert_close(found, exact, rtol=0.03, atol=0.01)
    assert float(exact.abs().min()) > 0.03


def test_removed_operations_have_no_weight_and_the_others_their_own_distribution() -> None:
    kept = torch.tensor([True, False, True, True, False])
    alpha = DirichletOps().restricted(ALPHA.expand(NUMBER, 5), kept.expand(NUMBER, 5))
    mean = DirichletOps().weights(alpha)[0]
    torch.testing.assert_close(mean, torch.where(kept, C, 0) / C[kept].sum())
    found = drawn(alpha)
    assert not found[:, ~kept].any()
    for share, c in zip(found[:, kept].T, C[kept].tolist(), strict=True):
        assert stats.kstest(share, stats.beta(c, float(C[kept].sum()) - c).cdf).pvalue > 1e-3


def test_a_single_survivor_has_weight_one_and_no_gradient() -> None:
    alpha = ALPHA[None].clone().requires_grad_()
    kept = torch.tensor([[False, True, False, False, False]])
    found = drawn(DirichletOps().restricted(alpha, kept))
    assert torch.equal(found, kept.double())
    (gradient,) = torch.autograd.grad(found[0, 1], alpha)
    assert not gradient.any()


@pytest.mark.parametrize("value", [-1e4, -40.0, 30.0, 1e4])
def test_extreme_alpha_give_finite_draws_and_gradients(value: float) -> None:
    alpha = torch.tensor([[value] * 5, [value, 0, 0, 0, 0]], requires_grad=True)
    found = drawn(alpha)
    (gradient,) = torch.autograd.grad((found * torch.arange(5)).sum(), alpha)
    assert found.isfinite().all()
    assert gradient.isfinite().all()


def test_the_divergence_is_that_of_torch() -> None:
    alpha = torch.stack((ALPHA, ALPHA.flip(0), 2 * ALPHA)).requires_grad_()
    ones = Dirichlet(torch.ones(5, dtype=torch.float64))
    expected = kl_divergence(Dirichlet(concentration(alpha)), ones).sum()
    found = divergence(alpha, torch.ones(3, 5, dtype=torch.bool))
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(value, alpha)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_the_divergence_of_survivors_is_that_of_their_own_distribution() -> None:
    kept = torch.tensor([[True, False, True, True, False], [False] * 5])
    alpha = torch.stack((ALPHA, ALPHA)).requires_grad_()
    ones = Dirichlet(torch.ones(3, dtype=torch.float64))
    expected = kl_divergence(Dirichlet(concentration(alpha[0, kept[0]])), ones)
    found = divergence(alpha, kept)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found, alpha)
    assert gradient.isfinite().all()
    assert torch.equal(gradient != 0, kept)


def test_the_penalty_is_the_divergence_of_all_edges_and_may_be_left_out() -> None:
    space = DartsSpace(2)
    arch = ArchitectureParameters(space, DirichletOps(), EqualEdges())
    strategy = DrNAS(kl=0.5)
    plan = SearchPlan(space, [strategy])
    every = [divergence(a, torch.ones_like(a, dtype=torch.bool)) for a in arch.alpha.values()]
    torch.testing.assert_close(plan.penalty(arch), 0.5 * torch.stack(every).sum())
    assert SearchPlan(space, [DrNAS()]).penalty(arch) == 0


@pytest.mark.parametrize(
    "other",
    [
        *(ExponentiatedGradient(), FairDARTS(), BetaDecay(), SNAS(), GDAS(), BinaryGates()),
        *(A2M(), RobustDARTS()),
    ],
)
def test_what_it_cannot_be_combined_with(other: SearchStrategy, make_search: SearchFactory) -> None:
    for strategies in ([DrNAS(), other], [other, DrNAS()]):
        with pytest.raises(UsageError, match="conflicting strategies: ") as found:
            make_search(strategies)
        assert type(other).__name__ in str(found.value)
        assert "DrNAS" in str(found.value)


def test_what_it_can_be_combined_with(make_search: SearchFactory) -> None:
    make_search([DrNAS(), PartialChannels(2), EdgeNormalization(), Unrolled()])
