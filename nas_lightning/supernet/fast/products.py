"""Matrix products over the channels of every pixel, in the channels-last format."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.supernet.fast.constants import identity
from nas_lightning.supernet.fast.cpu import AVX512

PIXELS = 2**40 if AVX512 else 2**15
"""Pixels of a batch from which on `mix` is a convolution; measured by benchmarks/convolutions.py on
a CPU without AVX-512, and so left to those."""
VECTOR = 8
"""Channels that such a CPU takes at a time."""


def channels_last(x: Tensor) -> Tensor:
    """The same in the channels-last format."""
    return x.contiguous(memory_format=torch.channels_last)


def mix(x: Tensor, weights: Tensor, add: Tensor | None = None) -> Tensor:
    """At every pixel the channels times a matrix: (B, D, H, W) of x (B, C, H, W) and (C, D)."""
    weights = weights.to(x.dtype)
    if by_convolution(x, weights.shape[1]):
        given = F.conv2d(x, weights.t()[:, :, None, None])
        return given if add is None else given.add_(add)
    rows = x.permute(0, 2, 3, 1)
    if add is None:
        out = rows.flatten(0, 2) @ weights
    else:
        out = torch.addmm(add.permute(0, 2, 3, 1).flatten(0, 2), rows.flatten(0, 2), weights)
    return out.view(*rows.shape[:3], -1).permute(0, 3, 1, 2)


def by_convolution(x: Tensor, channels: int) -> bool:
    """Whether to that many channels a convolution of x (B, C, H, W) is faster than a product.

    It is on a CPU, where vectors are full or there is one, and nothing is copied to be read.
    """
    many = x.device.type == "cpu" and x.numel() >= PIXELS * x.shape[1]
    full = channels % VECTOR == 0 or channels < VECTOR
    return many and full and x.is_contiguous(memory_format=torch.channels_last)


def block_diagonal(kernel: Tensor, groups: int) -> Tensor:
    """The matrix that `mix` takes for a 1x1 convolution in groups.

    Args:
        kernel: (outputs, inputs / groups, 1, 1).
        groups: G.

    Returns:
        (inputs, outputs).
    """
    blocks = torch.unflatten(kernel.flatten(1), 0, (groups, -1)).transpose(1, 2)  # (G, i, o)
    if groups == 1:
        return blocks[0]
    where = identity(groups, kernel.dtype, kernel.device)[:, None, :, None]
    return (blocks[:, :, None] * where).flatten(2).flatten(0, 1)
