"""Exponentiated gradient: its closed form, the simplex, mirror descent's bound, and conflicts."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import ArchStep, SearchModule, SearchStrategy
from nas_lightning.strategies import (
    EdgeNormalization,
    ExponentiatedGradient,
    ExponentiatedGradientOptimizer,
    PartialChannels,
)
from nas_lightning.supernet import onto_simplex
from tests.conftest import SearchFactory, TrainerFactory


def step(start: Tensor, gradient: Tensor, lr: float, **group: Any) -> Tensor:
    """The parameter after one step."""
    parameter = start.clone().requires_grad_()
    parameter.grad = gradient
    ExponentiatedGradientOptimizer([{"params": [parameter], **group}], lr=lr).step()
    return parameter.detach()


def test_the_example_of_the_rule() -> None:
    third = torch.full((3,), 1 / 3, dtype=torch.float64)
    gradient = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    expected = torch.tensor([0.300610, 0.332225, 0.367165], dtype=torch.float64)
    torch.testing.assert_close(step(third, gradient, lr=0.1), expected, rtol=0, atol=5e-7)


def test_it_is_the_softmax_of_summed_gradients() -> None:
    """From equal weights n steps give softmax(-lr · sum of gradients), as long as none clamps."""
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(20, 4, 5, dtype=torch.float64, generator=generator)
    weights = torch.full((4, 5), 0.2, dtype=torch.float64)
    for gradient in gradients:
        weights = step(weights, gradient, lr=0.1)
    torch.testing.assert_close(weights, (-0.1 * gradients.sum(dim=0)).softmax(dim=-1))


@given(
    st.integers(0, 2**31),
    st.floats(0, 1e6),
    st.floats(1e-20, 1e20),
    st.sampled_from([None, [1, 4], [2, 3], [5]]),
)
@settings(max_examples=80, deadline=None)
def test_it_stays_on_the_simplex(
    seed: int, lr: float, scale: float, segments: list[int] | None
) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = onto_simplex(torch.rand(3, 5, generator=generator), segments)
    gradient = scale * torch.randn(3, 5, generator=generator)
    weights = step(start, gradient, lr, segments=[segments])
    assert torch.all(weights > 0)
    for part in torch.split(weights, segments or [5], dim=-1):
        torch.testing.assert_close(part.sum(dim=-1), torch.ones(3))


def test_segments_do_not_see_one_another() -> None:
    start = onto_simplex(torch.ones(5), (2, 3))
    gradient = torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0])
    weights = step(start, gradient, lr=1.0, segments=[[2, 3]])
    torch.testing.assert_close(weights[2:], torch.full((3,), 1 / 3))
    torch.testing.assert_close(weights[:2], torch.tensor([-1.0, 1.0]).softmax(dim=0))


def test_a_clamped_weight_can_come_back() -> None:
    weights = step(torch.tensor([0.5, 0.5]), torch.tensor([100.0, 0.0]), lr=1.0)
    assert weights[0] == pytest.approx(1e-5, rel=1e-3)
    for _ in range(3):
        weights = step(weights, torch.tensor([0.0, 10.0]), lr=1.0)
    assert weights[0] > 0.9


def test_it_converges_as_fast_as_mirror_descent_promises() -> None:
    """Convex f, |gradient| at most G in the maximum norm, T steps of lr = sqrt(2 log n / T) / G:
    the mean of f over the steps is within G sqrt(2 log n / T) of the minimum."""
    size, steps = 10, 200
    target = torch.zeros(size, dtype=torch.float64)
    target[3] = 1.0  # the minimum lies in a corner
    bound = 2.0  # of the gradient of |w - target|², 2(w - target), on the simplex
    lr = math.sqrt(2 * math.log(size) / steps) / bound
    weights = torch.full((size,), 1 / size, dtype=torch.float64)
    values = []
    for _ in range(steps):
        values.append(float((weights - target).square().sum()))
        weights = step(weights, 2 * (weights - target), lr)
    assert sum(values) / steps <= bound * math.sqrt(2 * math.log(size) / steps)
    assert values[-1] < 0.01 * values[0]


def test_its_state_comes_back() -> None:
    parameter = torch.full((4,), 0.25, requires_grad=True)
    optimizer = ExponentiatedGradientOptimizer([{"params": [parameter], "name": "alpha"}], lr=0.3)
    again = ExponentiatedGradientOptimizer([{"params": [parameter], "name": "alpha"}], lr=0.1)
    again.load_state_dict(optimizer.state_dict())
    assert again.param_groups[0]["lr"] == 0.3


class Sums(SearchStrategy):
    """Sums of α over operations and of β over the edges of each node, after every step."""

    def __init__(self) -> None:
        self.sums: list[Tensor] = []

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        for cell in module.space.cells:
            self.sums.append(step.after[f"alpha.{cell.kind}"].sum(dim=1))
            parts = torch.split(step.after[f"beta.{cell.kind}"], list(cell.fan_in))
            self.sums.append(torch.stack([part.sum() for part in parts]))


def test_a_search_walks_on_the_simplex(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    watch = Sums()
    module = make_search([PartialChannels(2), ExponentiatedGradient(edges=True), watch])
    mixing = module.arch()
    assert torch.equal(mixing.ops["normal"].detach(), torch.full((5, 4), 0.25))
    torch.testing.assert_close(
        mixing.edges["normal"].detach(), torch.tensor([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
    )
    make_trainer().fit(module, datamodule=search_data)
    assert len(watch.sums) == 4 * 4
    for sums in watch.sums:
        torch.testing.assert_close(sums, torch.ones_like(sums))


def test_the_penalty_is_the_entropic_one(make_search: SearchFactory) -> None:
    """Zero for equal weights, weight · log O for each edge that has decided."""
    module = make_search([ExponentiatedGradient(entropy=0.5)])

    def penalty() -> float:
        with torch.no_grad():
            return float(module.plan.penalty(module.arch))

    assert penalty() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        for alpha in module.arch.alpha.values():
            alpha.copy_(onto_simplex(torch.eye(4)[torch.tensor([0, 1, 2, 3, 0])]))
    assert penalty() == pytest.approx(0.5 * 2 * 5 * math.log(4), rel=1e-3)


def test_two_ways_to_weight_edges_conflict(make_search: SearchFactory) -> None:
    with pytest.raises(UsageError, match="EdgeNormalization and ExponentiatedGradient both decide"):
        make_search([EdgeNormalization(), ExponentiatedGradient(edges=True)])
    with pytest.raises(UsageError, match="edges: true"):  # the logarithm of such β is NaN
        make_search([EdgeNormalization(), ExponentiatedGradient()])


def test_an_optimizer_in_the_configuration_conflicts(make_search: SearchFactory) -> None:
    with pytest.raises(UsageError, match="the configuration and ExponentiatedGradient both decide"):
        make_search([ExponentiatedGradient()], arch_optimizer=torch.optim.SGD)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="must be at least 0"):
        ExponentiatedGradient(lr=-0.1)
    with pytest.raises(UsageError, match="lr must be at least 0"):
        ExponentiatedGradientOptimizer([torch.ones(2)], lr=-1.0)
