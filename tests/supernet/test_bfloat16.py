"""Convolutions with gradients of their own, in bfloat16."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.supernet.fast.cpu.depthwise import depthwise
from nas_lightning.supernet.fast.cpu.dilated import dilated
from nas_lightning.supernet.fast.cpu.grouped import pointwise

Run = Callable[[Tensor, Tensor], Tensor]
CASES: dict[str, tuple[Run, Run, tuple[int, ...]]] = {
    "strips": (
        lambda x, w: depthwise(x, w, (2, 2)),
        lambda x, w: F.conv2d(x, w, padding=2, groups=16),
        (16, 1, 5, 5),
    ),
    "strided strips": (
        lambda x, w: depthwise(x, w, (2, 2), (2, 2)),
        lambda x, w: F.conv2d(x, w, padding=2, stride=2, groups=16),
        (16, 1, 5, 5),
    ),
    "strided": (
        lambda x, w: depthwise(x, w, (1, 1), (2, 2)),
        lambda x, w: F.conv2d(x, w, padding=1, stride=2, groups=16),
        (16, 1, 3, 3),
    ),
    "grids": (
        lambda x, w: dilated(x, w, (1, 1), 2),
        lambda x, w: F.conv2d(x, w, padding=2, dilation=2),
        (16, 16, 3, 3),
    ),
    "groups": (
        lambda x, w: pointwise(x, w, 2),
        lambda x, w: F.conv2d(x, w, groups=2),
        (16, 8, 1, 1),
    ),
}
"""Own and PyTorch's convolution, and the shape of the kernel."""
ROUNDING = 2.0**-8
"""Half the distance of two neighbours in bfloat16, which has 8 bits, relative to the larger."""


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_gradients_in_bfloat16_are_those_in_double_precision_but_for_rounding(
    name: str, mixed: bool
) -> None:
    """Under autocast, whose leaves stay in float32, and for leaves in bfloat16."""
    own, reference, shape = CASES[name]
    torch.manual_seed(0)
    x = torch.randn(4, 16, 8, 8).bfloat16()
    kernel = (torch.randn(shape) / 5).bfloat16()
    leaf = torch.float32 if mixed else torch.bfloat16
    low = [value.to(leaf).requires_grad_() for value in (x, kernel)]
    exact = [value.double().requires_grad_() for value in (x, kernel)]
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        out = own(*low)
    assert out.dtype == torch.bfloat16
    expected = reference(*exact)
    grad = torch.randn(expected.shape).bfloat16()
    found = [out, *torch.autograd.grad(out, low, grad)]
    wanted = [expected, *torch.autograd.grad(expected, exact, grad.double())]
    for value, other, dtype in zip(found, wanted, (torch.bfloat16, leaf, leaf), strict=True):
        assert value.dtype == dtype
        assert (value.double() - other).norm() <= 2 * ROUNDING * other.norm()
