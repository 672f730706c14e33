"""Regression: loss and metrics by their formulas, units, batches and predictions."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.tasks import Regression

SPEC = {"in_channels": 3, "num_classes": 2, "image_size": 8}
IMAGES = torch.zeros(2, 3, 8, 8)


def values(count: int, seed: int, center: float, scale: float) -> tuple[Tensor, Tensor]:
    """Outputs of a network, and values (count, 2) that are near `center + scale · output`."""
    generator = torch.Generator().manual_seed(seed)
    output = torch.randn(count, 2, generator=generator)
    noise = 0.3 * torch.randn(count, 2, generator=generator).double()
    return output, center + scale * (output.double() + noise)


def given(task: Regression, target: Tensor) -> Any:
    """A batch as the task makes it for a network in single precision."""
    return task.conform((torch.zeros(len(target), 3, 8, 8), target), torch.float32)


@pytest.mark.parametrize(("center", "scale"), [(0.0, 1.0), (2000.0, 3.0), (-5.0, 1e-4)])
def test_loss_and_metrics_of_all_batches(center: float, scale: float) -> None:
    """Of years with a deviation of 3, and of lengths of 0.1 mm in metres, too."""
    task = Regression(center, scale)
    metrics: Any = task.metrics(SPEC)
    found, truth = [], []
    for seed, count in enumerate((6, 9, 1)):
        output, target = values(count, seed, center, scale)
        batch = given(task, target)
        task.update(metrics, output, batch)
        x = center + scale * output.double().numpy()
        expected = np.mean(((x - target.numpy()) / scale) ** 2)
        assert float(task.loss(output, batch)) == pytest.approx(expected, rel=1e-4)
        found.append(x)
        truth.append(target.numpy())
    x, y = np.concatenate(found), np.concatenate(truth)
    r2 = 1 - ((x - y) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
    expected = {"mae": np.abs(x - y).mean(), "mse": ((x - y) ** 2).mean(), "r2": r2.mean()}
    result = {name: float(value) for name, value in metrics.compute().items()}
    assert result == pytest.approx(expected, rel=1e-4)
    assert 0.5 < result["r2"] < 1


def test_a_constant_value_and_a_single_sample_have_no_share_in_r2() -> None:
    task = Regression()
    metrics: Any = task.metrics(SPEC)
    for seed in range(3):
        output, target = values(50, seed, 0.0, 1.0)
        target[:, 1] = 0.1
        task.update(metrics, output, given(task, target))
    assert 0.4 < float(metrics.compute()["r2"]) < 0.5
    metrics = task.metrics(SPEC)
    task.update(metrics, torch.zeros(1, 2), given(task, torch.ones(1, 2)))
    assert float(metrics.compute()["r2"]) == 0


def test_each_value_has_its_own_unit() -> None:
    task = Regression(center=[10.0, -1.0], scale=[2.0, 0.5])
    output = torch.tensor([[1.0, 2.0]])
    torch.testing.assert_close(
        task.predictions(output)["value"], torch.tensor([[12.0, 0.0]], dtype=torch.float64)
    )
    batch = given(task, torch.tensor([[12.0, 0.0]]))
    torch.testing.assert_close(batch[1], output)
    assert float(task.loss(output, batch)) == 0
    assert repr(task) == "Regression(center=[10.0, -1.0], scale=[2.0, 0.5])"


def test_single_values_may_have_no_second_dimension() -> None:
    task = Regression(center=2.0)
    spec = {**SPEC, "num_classes": 1}
    for target in (torch.tensor([3.0, 5.0]), torch.tensor([3, 5]), torch.tensor([[3.0], [5.0]])):
        assert task.mismatch((IMAGES, target), spec, targets=True) is None
        assert given(task, target)[1].tolist() == [[1.0], [3.0]]


def test_half_precision_keeps_differences_of_large_values() -> None:
    batch = Regression(2000.0).conform((IMAGES, torch.tensor([[2000.25], [2001.5]])),
                                       torch.bfloat16)  # fmt: skip
    assert batch[1].flatten().tolist() == [0.25, 1.5]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (torch.zeros(2), r"values must have the shape \(B, 2\) .* found float32 \(2,\)"),
        (torch.zeros(2, 3), r"found float32 \(2, 3\)"),
        (torch.full((2, 2), torch.nan), "values must be finite, found NaN"),
        (torch.full((2, 2), torch.inf), "values must be finite, found infinite"),
    ],
)
def test_other_values_are_refused(target: Tensor, message: str) -> None:
    wrong = Regression().mismatch((IMAGES, target), SPEC, targets=True)
    assert wrong is not None
    assert re.search(message, wrong)


def test_other_numbers_of_units_are_refused() -> None:
    with pytest.raises(UsageError, match=r"center and scale must have .* found 2 and 3"):
        Regression(center=[1.0, 2.0], scale=[1.0, 2.0, 3.0])
    with pytest.raises(UsageError, match="found 0 and 1"):
        Regression(center=[])
    with pytest.raises(UsageError, match="scale must be above 0, found -1"):
        Regression(scale=[1.0, -1.0])
    wrong = Regression(scale=[1.0, 2.0, 3.0]).mismatch(
        (IMAGES, torch.zeros(2, 2)), SPEC, targets=True
    )
    assert wrong == (
        "Regression: scale has 3 numbers for 2 values: give one for each, or a single one"
    )
    with pytest.raises(UsageError, match=r"output \(B, 2\), found float32 \(2, 3\): mend"):
        Regression().loss(torch.zeros(2, 3), (IMAGES, torch.zeros(2, 2)))
