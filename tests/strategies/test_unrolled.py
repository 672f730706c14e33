"""The unrolled gradient against closed forms and autograd through the step."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import BilevelProblem
from nas_lightning.strategies import AmendedGradient, Unrolled
from nas_lightning.strategies.unrolled import unrolled_gradient
from tests.conftest import SearchFactory, TrainerFactory


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(("a", "w"), [(2.0, -2.0), (0.5, 1.0), (1.0, 1.0)])
def test_on_the_toy_problem(a: float, w: float, rate: float) -> None:
    """DARTS, figure 2: the derivative is w' - 2 + 2ξα with w' = w - ξ(2w - 2α)."""
    alpha = torch.tensor([a], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([w], dtype=torch.float64, requires_grad=True)
    problem = BilevelProblem(
        inner=lambda: (weight**2 - 2 * alpha * weight + alpha**2).sum(),
        outer=lambda: (alpha * weight - 2 * alpha + 1).sum(),
        weights={"w": weight},
        arch={"alpha": alpha},
        weight_optimizer=torch.optim.SGD([weight], lr=rate),
    )
    ahead = w - rate * (2 * w - 2 * a)
    expected = ahead - 2 + 2 * rate * a
    assert unrolled_gradient(problem)[0].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert weight.item() == w


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_on_smooth_problems_it_is_autograd_through_the_step(seed: int, momentum: float) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, y, xv, yv = draw(8, 3), draw(8, 2), draw(8, 3), draw(8, 2)
    weight, alpha = draw(20).requires_grad_(), draw(4).requires_grad_()

    def loss(w: Tensor, a: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        hidden = torch.tanh(inputs @ w[:12].reshape(3, 4)) * a.softmax(dim=0)
        return F.mse_loss(hidden @ w[12:].reshape(4, 2), targets)

    rate, decay = 0.3, 0.01
    optimizer = torch.optim.SGD([weight], lr=rate, momentum=momentum, weight_decay=decay)
    for _ in range(2):  # fill the momentum buffer
        optimizer.zero_grad()
        torch.autograd.backward(loss(weight, alpha, x, y))
        optimizer.step()
    buffer = optimizer.state[weight].get("momentum_buffer")
    (slope,) = torch.autograd.grad(loss(weight, alpha, x, y), [weight], create_graph=True)
    ahead = weight - rate * (slope + decay * weight)
    if momentum:
        ahead = ahead - rate * momentum * buffer
    (ruler,) = torch.autograd.grad(loss(ahead, alpha, xv, yv), [alpha])

    problem = BilevelProblem(
        inner=lambda: loss(weight, alpha, x, y),
        outer=lambda: loss(weight, alpha, xv, yv),
        weights={"w": weight},
        arch={"alpha": alpha},
        weight_optimizer=optimizer,
    )
    found = unrolled_gradient(problem, epsilon=1e-4)[0]
    torch.testing.assert_close(found, ruler, rtol=1e-6, atol=1e-9)


def test_it_needs_sgd(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    module = make_search([Unrolled()], weight_optimizer=torch.optim.Adam)
    with pytest.raises(UsageError, match=r"set weight_optimizer to torch\.optim\.SGD"):
        make_trainer().fit(module, datamodule=search_data)


def test_two_estimators_conflict(make_search: SearchFactory) -> None:
    with pytest.raises(UsageError, match="Unrolled and AmendedGradient both decide"):
        make_search([Unrolled(), AmendedGradient()])


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="must be positive"):
        Unrolled(epsilon=0.0)
