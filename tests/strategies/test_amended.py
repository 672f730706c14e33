"""The amended gradient on closed forms and a supernet; see also search/test_estimators.py."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import BilevelProblem
from nas_lightning.search.differences import moved
from nas_lightning.strategies import AmendedGradient
from nas_lightning.strategies.amended import amended_gradient
from tests.conftest import SearchFactory, TrainerFactory
from tests.search.hypergradient import supernet, toy

EXACT = pytest.mark.parametrize("exact", [False, True], ids=["differences", "double backward"])


def leaf(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def solved(at: float) -> BilevelProblem:
    """The toy problem with the weight at its optimum w = α."""
    return toy(at, at).bilevel()


@EXACT
@pytest.mark.parametrize("at", [-2.0, 0.5, 1.0, 3.0])
def test_on_the_toy_problem(at: float, exact: bool) -> None:
    """g1 = α - 2, the amendment is 4ηα; at η = 1/4 the sum is the true gradient 2α - 2."""
    for coefficient in (0.1, 0.25):
        found = amended_gradient(solved(at), coefficient, exact=exact)
        assert found.gradient[0].item() == pytest.approx(at - 2 + 4 * coefficient * at, rel=1e-9)
    assert amended_gradient(solved(at), 0.25, exact=exact).gradient[0].item() == pytest.approx(
        2 * at - 2, abs=1e-9
    )


@EXACT
def test_its_zero_at_a_smaller_coefficient_lies_elsewhere(exact: bool) -> None:
    found = amended_gradient(solved(2 / 1.4), 0.1, exact=exact)
    assert found.gradient[0].item() == pytest.approx(0, abs=1e-9)


def test_the_angle_to_the_true_term_can_exceed_ninety_degrees() -> None:
    """H = diag(1, 100), B = (1, 1), v = (1, -0.5): the terms have opposite signs."""
    curvature = torch.diag(leaf(1, 100).detach())
    mixed, v = leaf(1, 1).detach(), leaf(1, -0.5).detach()
    true = -(mixed @ torch.linalg.solve(curvature, v))
    amendment = -0.1 * (mixed @ curvature @ v)
    assert true.item() == pytest.approx(-0.995)
    assert amendment.item() == pytest.approx(4.9)


def test_clipping_is_relative_to_the_direct_term() -> None:
    free = amended_gradient(solved(3.0), 1.0)  # g1 = 1, amendment 12
    assert free.ratio.item() == pytest.approx(12)
    assert free.cosine.item() == pytest.approx(1)
    assert free.clipped.item() == 0
    clipped = amended_gradient(solved(3.0), 1.0, clip=0.5)
    assert clipped.gradient[0].item() == pytest.approx(1.5)
    assert clipped.clipped.item() == 1


def test_a_short_amendment_is_not_lengthened_by_the_clip() -> None:
    loose = amended_gradient(solved(3.0), 1.0, clip=30.0)  # g1 = 1, amendment 12
    assert loose.gradient[0].item() == pytest.approx(13)
    assert loose.clipped.item() == 0


def test_vanishing_directions_amend_nothing() -> None:
    found = amended_gradient(solved(0.0), 0.1)  # v = α = 0
    assert found.gradient[0].item() == pytest.approx(-2)


def test_weights_come_back_bit_for_bit_also_from_an_error() -> None:
    weight = torch.randn(100, requires_grad=True)
    before = weight.detach().clone()

    def fail() -> None:
        with moved([weight], [torch.randn(100)], 1e-3):
            assert not torch.equal(weight, before)
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    assert torch.equal(weight, before)


@EXACT
def test_on_a_supernet_both_ways_agree_and_leave_it_as_it_is(
    exact: bool, make_search: SearchFactory, search_data: Synthetic
) -> None:
    """In float64 and with steps so short that no ReLU switches between the two ends."""
    module = make_search([])
    problem = supernet(module, search_data)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = amended_gradient(problem, 0.1, exact=exact, epsilon=1e-7)
    ruler = amended_gradient(problem, 0.1, exact=True)
    for mine, theirs in zip(found.gradient, ruler.gradient, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_draws_are_replayed_in_one_step(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """With dropout on the images every evaluation of a loss must see the same mask."""
    seen: dict[int, list[Tensor]] = {}
    module = make_search([AmendedGradient()])
    plain = module.task.inputs

    def inputs(batch: tuple[Tensor, Tensor], carried: None = None) -> Tensor:
        dropped = F.dropout(plain(batch), 0.5)
        seen.setdefault(id(batch[1]), []).append(dropped.detach().clone())
        return dropped

    module.task.inputs = inputs  # type: ignore[method-assign] # a layer that draws, for the test
    make_trainer(limit_train_batches=1, limit_val_batches=0).fit(module, datamodule=search_data)
    train, val = sorted(seen.values(), key=len, reverse=True)
    assert len(val) == 1
    assert len(train) == 4 + 1  # four evaluations, then the weight step with a draw of its own
    assert all(torch.equal(mask, train[0]) for mask in train[:4])
    assert not torch.equal(train[4], train[0])


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="must be above 0"):
        AmendedGradient(coefficient=0.0)


def test_what_it_did_is_logged(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    trainer = make_trainer(limit_train_batches=1, limit_val_batches=0)
    trainer.fit(make_search([AmendedGradient(clip=0.5)]), datamodule=search_data)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert -1 <= logged["amended/cosine"] <= 1
    assert logged["amended/ratio"] > 0
    assert logged["amended/clipped"] == float(logged["amended/ratio"] > 0.5)
