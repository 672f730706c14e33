"""The two cosines of OLES on gradients made by hand."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from nas_lightning.strategies.gradient_cosines import GradientCosines, Reading, clip_factor

READINGS: tuple[Reading, Reading] = ("code", "paper")
WEIGHTS = {
    "a.conv": torch.zeros(2, 3, 1, 1),
    "a.scale": torch.zeros(2),
    "b.conv": torch.zeros(2, 1),
}
OPERATIONS = [("a.conv", "a.scale"), ("b.conv",)]


def compared(
    reading: Reading, train: Mapping[str, Any], validation: Mapping[str, Any]
) -> tuple[list[float], list[float]]:
    """Compare gradients that are given as flat lists; return the cosines and which there are."""
    cosines = GradientCosines(OPERATIONS, WEIGHTS, reading)
    stacked = [
        cosines.stacked({n: torch.tensor(v).double().view_as(WEIGHTS[n]) for n, v in side.items()})
        for side in (train, validation)
    ]
    found = cosines(*stacked)
    return found[0].tolist(), found[1].tolist()


def test_the_cosine_of_the_paper_is_that_of_all_weights_of_an_operation() -> None:
    train = {"a.conv": [1, 0, 2, 0, 1, 0], "a.scale": [3, 1], "b.conv": [1, 1]}
    validation = {"a.conv": [2, 5, 0, 1, 1, 1], "a.scale": [-1, 1], "b.conv": [-2, -2]}
    cosine = (2 + 1 - 3 + 1) / math.sqrt((1 + 4 + 1 + 9 + 1) * (4 + 25 + 1 + 1 + 1 + 1 + 1))
    found, present = compared("paper", train, validation)
    assert found == pytest.approx([cosine, -1])
    assert present == [1, 1]


def test_the_cosine_of_the_code_is_a_mean_over_columns_and_weights() -> None:
    # the columns of a.conv are (1, 0), (0, 1) and (2, 0) beside sums (1, 1), (0, 2) and (2, 2)
    train = {"a.conv": [1, 0, 2, 0, 1, 0], "a.scale": [3, 4], "b.conv": [1, 0]}
    validation = {"a.conv": [0, 0, 0, 1, 1, 2], "a.scale": [0, -4], "b.conv": [0, math.sqrt(5.25)]}
    half = math.sqrt(0.5)
    found, present = compared("code", train, validation)
    assert found == pytest.approx([((half + 1 + half) / 3 + 3 / 5) / 2, 0.4])
    assert present == [1, 1]


def test_orthogonal_gradients_of_equal_length() -> None:
    train = {"a.conv": [1] * 6, "a.scale": [1, 1], "b.conv": [1, 0]}
    validation = {"a.conv": [1] * 3 + [-1] * 3, "a.scale": [1, -1], "b.conv": [0, 1]}
    assert compared("code", train, validation)[0] == pytest.approx([math.sqrt(0.5)] * 2)
    assert compared("paper", train, validation)[0] == pytest.approx([0, 0])


@pytest.mark.parametrize("reading", READINGS)
def test_what_has_no_gradient_is_not_compared(reading: Reading) -> None:
    """A weight without one does not count in the mean of the code either."""
    train = {"a.conv": [0] * 6, "a.scale": [3, 4], "b.conv": [0, 0]}
    validation = {"a.conv": [0] * 6, "a.scale": [3, 4], "b.conv": [1, 1]}
    found, present = compared(reading, train, validation)
    assert found == pytest.approx([1, 0])
    assert present == [1, 0]


def test_the_factor_of_the_clipping_is_that_of_torch() -> None:
    for limit, size in ((5.0, 100.0), (5.0, 0.1), (None, 100.0), (0.0, 100.0)):
        weight = torch.nn.Parameter(torch.zeros(3))
        other = torch.nn.Parameter(torch.zeros(2))
        weight.grad = size * torch.tensor([1.0, -2.0, 3.0])
        expected = weight.grad.clone()
        if limit:
            clipped = torch.nn.Parameter(torch.zeros(3))
            clipped.grad = weight.grad.clone()
            torch.nn.utils.clip_grad_norm_([clipped, other], limit)
            expected = clipped.grad
        found = weight.grad * clip_factor({"a": weight, "b": other}, limit)
        torch.testing.assert_close(found, expected)
