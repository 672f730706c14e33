"""Dilated convolutions without dilation: their kernels read every dth pixel, which is a grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.supernet.fast.depthwise import by_strips, depthwise


def convolve(
    conv: Any,
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    groups: int,
    spread: Callable[[Tensor], Tensor],
    learned: bool = False,
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
        learned: Whether a gradient with respect to the kernel is wanted.
    """

    def run(x: Tensor, padding: tuple[int, int]) -> Tensor:
        x = spread(x)
        if learned and bias is None and by_strips(x, kernel):
            return depthwise(x, kernel, padding)
        return F.conv2d(x, kernel, bias, 1, padding, 1, groups)

    d = conv.dilation[0]
    padding = (conv.padding[0] // d, conv.padding[1] // d)
    gridded = d > 1 and conv.dilation == (d, d) and not any(p % d for p in conv.padding)
    if gridded and conv.stride == (d, d):
        return run(x[:, :, ::d, ::d], padding)
    fits = x.shape[2] % d == x.shape[3] % d == 0 and x.device.type == "cpu"
    if gridded and conv.stride == (1, 1) and kernel.shape[1] == 1 and fits:
        return _joined(run(_grids(x, d), padding), d)
    if d == 1 and conv.stride == (1, 1):
        return run(x, conv.padding)
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
