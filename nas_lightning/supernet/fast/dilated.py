"""Dilated convolutions without dilation: their kernels read every dth pixel, which is a grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def convolve(
    conv: Any,
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    groups: int,
    spread: Callable[[Tensor], Tensor],
) -> Tensor:
    """A convolution with stride, padding and dilation of another one.

    One whose stride is its dilation reads one grid only. One of stride 1 is four convolutions if
    the dilation is two, each on a grid of its own; depthwise ones run so on a CPU, which takes
    several times as long for the gradients of dilated ones.

    Args:
        conv: The other one.
        x: What it reads (B, C, H, W).
        kernel: (outputs, C' / groups, height, width).
        bias: (outputs,).
        groups: Groups.
        spread: Makes the C' channels of C, pixel by pixel.
    """
    d = conv.dilation[0]
    padding = [p // d for p in conv.padding]
    gridded = d > 1 and conv.dilation == (d, d) and not any(p % d for p in conv.padding)
    if gridded and conv.stride == (d, d):
        return F.conv2d(spread(x[:, :, ::d, ::d]), kernel, bias, 1, padding, 1, groups)
    fits = x.shape[2] % d == x.shape[3] % d == 0 and x.device.type == "cpu"
    if gridded and conv.stride == (1, 1) and kernel.shape[1] == 1 and fits:
        return _joined(F.conv2d(spread(_grids(x, d)), kernel, bias, 1, padding, 1, groups), d)
    return F.conv2d(spread(x), kernel, bias, conv.stride, conv.padding, conv.dilation, groups)


def _grids(x: Tensor, d: int) -> Tensor:
    """(d² · B, C, H/d, W/d) in the channels-last format: each of the grids by itself."""
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(batch, height // d, d, width // d, d, channels)
    return rows.permute(2, 4, 0, 1, 3, 5).flatten(0, 2).permute(0, 3, 1, 2)


def _joined(x: Tensor, d: int) -> Tensor:
    """The inverse of `_grids`."""
    rows = torch.unflatten(x.permute(0, 2, 3, 1), 0, (d, d, -1))
    return rows.permute(2, 3, 0, 4, 1, 5).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
