"""Matrix products over the channels of every pixel, in the channels-last format."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.supernet.fast.constants import identity
from nas_lightning.supernet.fast.cpu import thresholds


def channels_last(x: Tensor) -> Tensor:
    """Return x in the channels-last format."""
    return x.contiguous(memory_format=torch.channels_last)


def mix(x: Tensor, weights: Tensor, add: Tensor | None = None) -> Tensor:
    """Multiply the channels of every pixel by a matrix, and add `add` if there is one.

    Args:
        x: (B, C, H, W).
        weights: (C, D).
        add: (B, D, H, W).

    Returns:
        (B, D, H, W).
    """
    weights = weights.to(x.dtype)
    if by_convolution(x, weights.shape[1]):
        product = F.conv2d(x, weights.t()[:, :, None, None])
        return product if add is None else product.add_(add)
    rows = x.permute(0, 2, 3, 1)
    if add is None:
        out = rows.flatten(0, 2) @ weights
    else:
        out = torch.addmm(add.permute(0, 2, 3, 1).flatten(0, 2), rows.flatten(0, 2), weights)
    return out.view(*rows.shape[:3], -1).permute(0, 3, 1, 2)


def by_convolution(x: Tensor, channels: int) -> bool:
    """Return True if `mix` is faster as a convolution than as a matrix product.

    It is on a CPU for many pixels in the channels-last format, which need no copy, if the outputs
    fill vectors or fit into one.

    Args:
        x: (B, C, H, W).
        channels: Number of output channels.
    """
    many = x.device.type == "cpu" and x.numel() >= thresholds.CONVOLUTION_PIXELS * x.shape[1]
    full = channels % thresholds.VECTOR == 0 or channels < thresholds.VECTOR
    return many and full and x.is_contiguous(memory_format=torch.channels_last)


def block_diagonal(kernel: Tensor, groups: int) -> Tensor:
    """Make the matrix with which `mix` computes a grouped 1x1 convolution.

    Args:
        kernel: (outputs, inputs / groups, 1, 1).
        groups: Number of groups.

    Returns:
        (inputs, outputs).
    """
    blocks = torch.unflatten(kernel.flatten(1), 0, (groups, -1)).transpose(1, 2)  # (G, i, o)
    if groups == 1:
        return blocks[0]
    where = identity(groups, kernel.dtype, kernel.device)[:, None, :, None]
    return (blocks[:, :, None] * where).flatten(2).flatten(0, 1)
