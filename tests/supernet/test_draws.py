"""Draws of a search: their distribution, their gradients, and their independence of others."""

import torch
from scipy import stats

from nas_lightning.supernet.draws import dirichlet, gumbel, uniform

LEVEL = 1e-3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_uniform_and_gumbel_draws_have_their_distribution() -> None:
    like = torch.empty(20_000, dtype=torch.float64)
    assert stats.kstest(uniform(like, generator()), "uniform").pvalue > LEVEL
    assert stats.kstest(gumbel(like, generator()), "gumbel_r").pvalue > LEVEL


def test_dirichlet_draws_have_their_distribution() -> None:
    """Each share of a Dirichlet draw has a beta distribution."""
    concentration = torch.tensor([0.5, 1.0, 2.5], dtype=torch.float64)
    draws = dirichlet(concentration.expand(10_000, 3), generator())
    torch.testing.assert_close(draws.sum(1), torch.ones(10_000).double())
    for share, value in zip(draws.T, concentration.tolist(), strict=True):
        assert stats.kstest(share, stats.beta(value, 4.0 - value).cdf).pvalue > LEVEL


def test_the_gradient_of_a_dirichlet_draw_is_that_of_its_expectation() -> None:
    """E of the sum over m of f_m x_m² is known; its derivative is taken by autograd."""
    concentration = torch.tensor([0.7, 1.3, 2.0], dtype=torch.float64, requires_grad=True)
    factors = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    total = concentration.sum()
    second = concentration * (concentration + 1) / (total * (total + 1))
    (exact,) = torch.autograd.grad((factors * second).sum(), concentration)
    rows = concentration.expand(200_000, 3)
    (found,) = torch.autograd.grad(
        (factors * dirichlet(rows, generator()).square()).sum(1).mean(), concentration
    )
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0.005)


def test_a_dirichlet_draw_depends_on_the_generator_alone() -> None:
    concentration = torch.ones(4, 3)
    torch.manual_seed(1)
    first, after = dirichlet(concentration, generator()), torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(3))  # the global generator was left alone
    torch.manual_seed(2)
    assert torch.equal(first, dirichlet(concentration, generator()))
    assert not torch.equal(first, dirichlet(concentration, generator(1)))
    assert first.dtype == torch.float32
