"""Functions with a gradient of their own, against PyTorch's."""

from collections.abc import Callable

import torch
from torch import Tensor


def assert_like(
    run: Callable[[Tensor, Tensor], Tensor],
    own: Tensor,
    x: Tensor,
    weight: Tensor,
    exact: bool = True,
) -> None:
    """Against finite differences, twice, and PyTorch's own; values to the last bit if exact."""
    tolerance = 0 if exact else 1e-12
    torch.testing.assert_close(run(x, weight), own, rtol=tolerance, atol=tolerance)
    found, expected = (
        torch.autograd.grad(out.pow(3).sum(), [x, weight]) for out in (run(x, weight), own)
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-9)
    assert torch.autograd.gradcheck(run, (x, weight), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x, weight), fast_mode=True)
