"""Grouped pointwise convolutions whose kernel gets its gradient from matrix products.

On a CPU, the gradient that oneDNN computes takes longer (see benchmarks/convolutions.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.supernet.fast.cpu import precision, thresholds


def by_groups(x: Tensor, kernel: Tensor) -> bool:
    """Return True if `pointwise` is faster than PyTorch's own convolution.

    It is used in bfloat16, also under autocast, only on CPUs that compute in it.

    Args:
        x: Images (B, C, H, W).
        kernel: (outputs, C / groups, 1, 1).
    """
    if kernel.shape[1] < thresholds.WIDE_GROUP or x.device.type != "cpu":
        return False
    return precision.fast(x)


def pointwise(x: Tensor, kernel: Tensor, groups: int) -> Tensor:
    """Compute a pointwise convolution without bias.

    Args:
        x: Images (B, C, H, W).
        kernel: (outputs, C / groups, 1, 1).
        groups: Number of groups.
    """
    out: Tensor = _Pointwise.apply(*precision.cast(x, kernel), groups)
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
    """Return the pixels of x (B, C, H, W) by group: (groups, B · H · W, C / groups)."""
    return torch.unflatten(x.permute(0, 2, 3, 1).flatten(0, 2), 1, (groups, -1)).transpose(0, 1)
