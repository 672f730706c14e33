"""Pointwise convolutions in groups whose weights are learned: their gradient as products.

On a CPU, oneDNN takes longer (see benchmarks/convolutions.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

WIDE = 16
"""Channels of a group from which on that pays; measured by benchmarks/convolutions.py."""


def by_groups(x: Tensor, kernel: Tensor) -> bool:
    """Whether `pointwise` pays for images (B, C, H, W) and a kernel (outputs, C / groups, 1, 1).

    Not in bfloat16, and not under autocast, which changes the types that the gradient meets.
    """
    if kernel.shape[1] < WIDE or x.device.type != "cpu":
        return False
    return x.dtype != torch.bfloat16 and not torch.is_autocast_enabled("cpu")


def pointwise(x: Tensor, kernel: Tensor, groups: int) -> Tensor:
    """A pointwise convolution without bias.

    Args:
        x: Images (B, C, H, W).
        kernel: (outputs, C / groups, 1, 1).
        groups: Groups.
    """
    out: Tensor = _Pointwise.apply(x, kernel, groups)
    return out


class _Pointwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.groups = groups
        return F.conv2d(x, kernel, groups=groups)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, kernel), (grad,) = ctx.saved_tensors, grads
        of_x = of_kernel = None
        if ctx.needs_input_grad[0]:
            of_x, _, _ = torch.ops.aten.convolution_backward(
                grad, x, kernel, None, (1, 1), (0, 0), (1, 1), False, (0, 0), ctx.groups,
                (True, False, False),
            )  # fmt: skip
        if ctx.needs_input_grad[1]:
            product = torch.bmm(_rows(grad, ctx.groups).mT, _rows(x, ctx.groups))
            of_kernel = product.view(kernel.shape)
        return of_x, of_kernel, None


def _rows(x: Tensor, groups: int) -> Tensor:
    """(groups, B · H · W, C / groups)."""
    return torch.unflatten(x.permute(0, 2, 3, 1).flatten(0, 2), 1, (groups, -1)).transpose(0, 1)
