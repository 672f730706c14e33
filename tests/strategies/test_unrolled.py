"""The unrolled gradient on a closed form and as a strategy; see also search/test_estimators.py."""

import pytest
import torch

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.strategies import AmendedGradient, Unrolled
from nas_lightning.strategies.unrolled import unrolled_gradient
from tests.conftest import SearchFactory, TrainerFactory
from tests.search.hypergradient import toy


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(("a", "w"), [(2.0, -2.0), (0.5, 1.0), (1.0, 1.0)])
def test_on_the_toy_problem(a: float, w: float, rate: float) -> None:
    """DARTS, figure 2: the derivative is w' - 2 + 2ξα with w' = w - ξ(2w - 2α)."""
    problem = toy(w, a).bilevel(lr=rate)
    ahead = w - rate * (2 * w - 2 * a)
    expected = ahead - 2 + 2 * rate * a
    assert unrolled_gradient(problem)[0].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert problem.weights["w"].item() == w


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
    with pytest.raises(UsageError, match="must be above 0"):
        Unrolled(epsilon=0.0)
