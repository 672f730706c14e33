"""Frozen entries stay exactly where they are, under momentum, weight decay and hooks."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from nas_lightning.search.frozen_entries import FrozenEntries
from nas_lightning.strategies.exponentiated_gradient import ExponentiatedGradientOptimizer

OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    "sgd": lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "adam": lambda params: Adam(params, lr=0.1, betas=(0.5, 0.999), weight_decay=0.1),
    "amsgrad": lambda params: Adam(params, lr=0.1, weight_decay=0.1, amsgrad=True),
    "adamw": lambda params: AdamW(params, lr=0.1, weight_decay=0.1),
}
MASK = torch.tensor([[True] * 3, [False, True, False]])


@pytest.mark.parametrize("kind", list(OPTIMIZERS))
@pytest.mark.parametrize("earlier", [0, 2])
def test_frozen_entries_stay_and_the_others_step_as_if_alone(kind: str, earlier: int) -> None:
    """Also after steps in which all entries moved."""
    torch.manual_seed(0)
    value = nn.Parameter(torch.randn(2, 3, dtype=torch.float64))
    free = nn.Parameter(value.detach().clone())  # nothing is frozen
    optimizer, other = OPTIMIZERS[kind]([value]), OPTIMIZERS[kind]([free])
    gradients = torch.randn(earlier + 3, 2, 3, dtype=torch.float64)
    for step, gradient in enumerate(gradients):
        value.grad, free.grad = gradient.clone(), gradient.clone()
        if step == earlier:
            before = value.detach().clone()
            state = {k: v.clone() for k, v in optimizer.state[value].items() if v.shape == (2, 3)}
        other.step()
        with FrozenEntries(optimizer, {"a": value}, {"a": MASK} if step >= earlier else {}):
            optimizer.step()
            with torch.no_grad():
                value.add_(0.0 if step < earlier else 1.0)  # a hook
                free.add_(0.0 if step < earlier else 1.0)
    assert torch.equal(value[MASK], before[MASK])
    assert torch.equal(value[~MASK], free[~MASK])
    for name, part in optimizer.state[value].items():
        if part.shape == (2, 3):
            expected = state.get(name, torch.zeros(2, 3, dtype=torch.float64))
            assert torch.equal(part[MASK], expected[MASK]), name
            assert torch.equal(part[~MASK], other.state[free][name][~MASK]), name


def test_the_gradients_of_frozen_entries_become_zero() -> None:
    value = nn.Parameter(torch.ones(2, 3))
    value.grad = torch.ones(2, 3)
    with FrozenEntries(SGD([value], lr=0.1), {"a": value}, {"a": MASK}):
        assert torch.equal(value.grad, (~MASK).float())


def test_a_row_of_a_simplex_can_be_frozen() -> None:
    value = nn.Parameter(torch.tensor([[0.5, 0.5], [0.5, 0.5]]))
    value.grad = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
    optimizer = ExponentiatedGradientOptimizer([value])
    with FrozenEntries(optimizer, {"a": value}, {"a": torch.tensor([[True], [False]])}):
        optimizer.step()
    assert value[0].tolist() == [0.5, 0.5]
    assert value[1, 0] < 0.5


def test_without_masks_nothing_is_kept() -> None:
    value = nn.Parameter(torch.ones(2))
    value.grad = torch.ones(2)
    optimizer = SGD([value], lr=0.1)
    with FrozenEntries(optimizer, {"a": value}, {}):
        optimizer.step()
    torch.testing.assert_close(value.detach(), torch.full((2,), 0.9))
