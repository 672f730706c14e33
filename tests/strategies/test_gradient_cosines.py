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
    "a.point": torch.zeros(2, 1),
    "a.bias": torch.zeros(2),
    "b.conv": torch.zeros(2, 1),
    "c.scale": torch.zeros(2),
}
OPERATIONS = [("a.conv", "a.point", "a.bias"), ("b.conv",), ("c.scale",)]


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


def gradients(conv: Any, point: Any, bias: Any, other: Any, scale: Any) -> dict[str, Any]:
    return dict(zip(WEIGHTS, (conv, point, bias, other, scale), strict=True))


def test_the_cosine_of_the_paper_is_that_of_all_weights_of_an_operation() -> None:
    train = gradients([1, 0, 2, 0, 1, 0], [3, 1], [2, 0], [1, 1], [0, 3])
    validation = gradients([2, 5, 0, 1, 1, 1], [-1, 1], [4, 1], [-2, -2], [4, 3])
    lengths = (1 + 4 + 1 + 9 + 1 + 4) * (4 + 25 + 1 + 1 + 1 + 1 + 1 + 16 + 1)
    found, present = compared("paper", train, validation)
    assert found == pytest.approx([(2 + 1 - 3 + 1 + 8) / math.sqrt(lengths), -1, 3 / 5])
    assert present == [1, 1, 1]


def test_the_cosine_of_the_code_is_a_mean_over_columns_and_kernels() -> None:
    # the columns of a.conv are (1, 0), (0, 1) and (2, 0) beside sums (1, 1), (0, 2) and (2, 2);
    # a.bias does not count
    train = gradients([1, 0, 2, 0, 1, 0], [3, 4], [7, 0], [1, 0], [0, 1])
    validation = gradients([0, 0, 0, 1, 1, 2], [0, -4], [0, 7], [0, math.sqrt(5.25)], [1, 0])
    half = math.sqrt(0.5)
    found, present = compared("code", train, validation)
    assert found == pytest.approx([((half + 1 + half) / 3 + 3 / 5) / 2, 0.4, half])
    assert present == [1, 1, 1]


def test_orthogonal_gradients_of_equal_length() -> None:
    train = gradients([1] * 6, [1, 1], [2, 0], [1, 0], [3, 4])
    validation = gradients([1] * 3 + [-1] * 3, [1, -1], [0, 2], [0, 1], [4, -3])
    assert compared("code", train, validation)[0] == pytest.approx([math.sqrt(0.5)] * 3)
    assert compared("paper", train, validation)[0] == pytest.approx([0, 0, 0])


@pytest.mark.parametrize("reading", READINGS)
def test_what_has_no_gradient_is_not_compared(reading: Reading) -> None:
    """A weight without one does not count in the mean of the code either."""
    train = gradients([0] * 6, [3, 4], [0, 0], [0, 0], [1, 1])
    validation = gradients([0] * 6, [3, 4], [0, 0], [1, 1], [0, 0])
    found, present = compared(reading, train, validation)
    assert found == pytest.approx([1, 0, 0])
    assert present == [1, 0, 0]


@pytest.mark.parametrize("reading", READINGS)
def test_the_length_of_gradients_does_not_matter(reading: Reading) -> None:
    train = gradients([1, 0, 2, 0, 1, 0], [3, 4], [7, 0], [1, 0], [0, 1])
    validation = gradients([0, 0, 0, 1, 1, 2], [0, -4], [0, 7], [0, 2], [1, 0])
    small = [
        {name: [1e-12 * v for v in values] for name, values in side.items()}
        for side in (train, validation)
    ]
    assert compared(reading, *small)[0] == pytest.approx(compared(reading, train, validation)[0])


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
