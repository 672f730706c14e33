"""The Neumann series as a strategy; its formula is held to in search/test_estimators.py."""

import pytest
import torch

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import BilevelProblem
from nas_lightning.strategies import AmendedGradient, Neumann
from nas_lightning.strategies.neumann import neumann_gradient
from tests.conftest import SearchFactory, TrainerFactory
from tests.search.hypergradient import network, supernet, toy

EXACT = pytest.mark.parametrize("exact", [False, True], ids=["differences", "double backward"])


@EXACT
def test_on_a_supernet_both_ways_agree_and_leave_it_as_it_is(
    exact: bool, make_search: SearchFactory, search_data: Synthetic
) -> None:
    """In float64 and with steps so short that no ReLU switches between the two ends."""
    module = make_search([])
    problem = supernet(module, search_data)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found, last = neumann_gradient(problem, 0.01, 2, exact=exact, epsilon=1e-7)
    ruler, last_ruler = neumann_gradient(problem, 0.01, 2, exact=True)
    for mine, theirs in zip(found.gradient, ruler.gradient, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(last, last_ruler, rtol=1e-5, atol=0)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_on_a_fresh_supernet_the_series_diverges_at_the_rate_of_the_weights(
    make_search: SearchFactory, search_data: Synthetic
) -> None:
    """By double backward, so that no kink has a part in it; ξ is the first one of DARTS' SGD."""
    problem = supernet(make_search([]), search_data)
    found = [float(neumann_gradient(problem, 0.025, k, exact=True)[1]) for k in (0, 3, 6)]
    assert found[0] == 1
    assert found[2] > found[1] > 1


@EXACT
def test_clipping_is_relative_to_the_direct_term(exact: bool) -> None:
    problem = toy(3.0, 3.0).bilevel()  # g1 = 1, v = 3, B = -2: with ξ = 1/2 and K = 0 the rest is 3
    free, _ = neumann_gradient(problem, 0.5, 0, exact=exact)
    assert free.gradient[0].item() == pytest.approx(4)
    assert (free.ratio.item(), free.cosine.item()) == pytest.approx((3, 1))
    assert free.clipped.item() == 0
    clipped, _ = neumann_gradient(problem, 0.5, 0, clip=0.5, exact=exact)
    assert clipped.gradient[0].item() == pytest.approx(1.5)
    assert clipped.ratio.item() == pytest.approx(3)
    assert clipped.clipped.item() == 1


@EXACT
def test_without_a_direction_only_the_direct_term_is_left(exact: bool) -> None:
    found, last = neumann_gradient(toy(0.0, 0.0).bilevel(), 0.1, 3, exact=exact)  # v = α = 0
    assert found.gradient[0].item() == -2
    assert last.item() == 0


def test_it_takes_the_learning_rate_of_the_weights_as_it_is_now() -> None:
    problem = network(0).bilevel(lr=0.5)
    assert problem.weight_optimizer is not None
    strategy = Neumann(terms=1, clip=None)
    for rate in (0.5, 0.2):
        problem.weight_optimizer.param_groups[0]["lr"] = rate
        expected = neumann_gradient(problem, rate, 1)[0].gradient[0]
        assert torch.equal(strategy.neumann(problem)[0], expected)
    given = Neumann(terms=1, rate=0.5, clip=None).neumann(problem)[0]
    assert torch.equal(given, neumann_gradient(problem, 0.5, 1)[0].gradient[0])


def test_its_arguments_reach_the_estimator() -> None:
    problem = network(0).bilevel(lr=0.5)
    for arguments in ({"terms": 3}, {"clip": 0.1}, {"exact": True}, {"epsilon": 1.0}):
        found = Neumann(**arguments).neumann(problem)[0]
        settings = {"rate": 0.5, "terms": 1, "clip": 1.0, **arguments}
        expected = neumann_gradient(problem, **settings)[0].gradient[0]  # type: ignore[arg-type]
        assert torch.equal(found, expected)
        assert not torch.equal(found, Neumann().neumann(problem)[0])


def test_it_is_computed_in_full_precision() -> None:
    weight, alpha = torch.randn(3, 3, requires_grad=True), torch.ones(3, requires_grad=True)
    problem = BilevelProblem(
        inner=lambda: (weight @ weight @ alpha).square().mean(),
        outer=lambda: (weight @ alpha).square().mean(),
        weights={"w": weight},
        arch={"alpha": alpha},
    )
    strategy = Neumann(rate=0.1)
    plain = strategy.neumann(problem)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = neumann_gradient(problem, 0.1, 1, clip=1.0)[0].gradient[0]
        assert torch.equal(strategy.neumann(problem)[0], plain)
    assert not torch.equal(rough, plain)


def test_two_estimators_conflict(make_search: SearchFactory) -> None:
    with pytest.raises(UsageError, match="Neumann and AmendedGradient both decide"):
        make_search([Neumann(), AmendedGradient()])


@pytest.mark.parametrize(
    "arguments", [{"terms": -1}, {"rate": 0.0}, {"clip": 0.0}, {"epsilon": -0.1}]
)
def test_settings_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"Neumann: .*{next(iter(arguments))}.* must"):
        Neumann(**arguments)  # type: ignore[arg-type]
    Neumann(terms=0, rate=None, clip=None)


def test_what_it_did_is_logged(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    strategy = Neumann(terms=2, rate=0.01, clip=0.5)
    trainer = make_trainer(limit_train_batches=1, limit_val_batches=0)
    trainer.fit(make_search([strategy]), datamodule=search_data)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert -1 <= logged["neumann/cosine"] <= 1
    assert logged["neumann/ratio"] > 0
    assert logged["neumann/clipped"] == float(logged["neumann/ratio"] > 0.5)
    assert logged["neumann/last_term"] > 0
