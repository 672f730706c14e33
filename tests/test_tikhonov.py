"""Tikhonov reconstructions against the normal equations."""

import numpy as np
import pytest
import torch
from torch import Tensor

from nas_lightning.operators import (
    Identity,
    Operator,
    tikhonov,
)
from tests.test_operators import CASES, dense


@pytest.mark.parametrize("strength", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize(("operator", "shape"), CASES)
def test_tikhonov_solves_the_normal_equations(
    operator: Operator, shape: tuple[int, ...], strength: float
) -> None:
    torch.manual_seed(0)
    y = operator(torch.randn(3, 2, *shape, dtype=torch.float64))
    y = y + torch.randn_like(y)
    y[1] = 0  # solved from the start
    u = tikhonov(operator, y, strength)
    matrix = dense(operator, shape)
    normal = matrix.T @ matrix + strength * np.eye(matrix.shape[1])
    for sample in range(3):
        for channel in range(2):
            right = matrix.T @ y[sample, channel].flatten().numpy()
            expected = np.linalg.solve(normal, right)
            np.testing.assert_allclose(u[sample, channel].flatten().numpy(), expected, atol=1e-6)


def test_tikhonov_ends_early_at_the_solution() -> None:
    calls = 0

    class Counted(Identity):
        def forward(self, x: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return super().forward(x)

    y = torch.randn(4, 1, 32)
    torch.testing.assert_close(tikhonov(Counted(), y, 0.25), y / 1.25)
    assert calls < 5
