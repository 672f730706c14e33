"""Matrix products over the channels of every pixel, in the channels-last format."""

from __future__ import annotations

import torch
from torch import Tensor

from nas_lightning.supernet.fast.constants import identity


def channels_last(x: Tensor) -> Tensor:
    """The same in the channels-last format."""
    return x.contiguous(memory_format=torch.channels_last)


def mix(x: Tensor, weights: Tensor, add: Tensor | None = None) -> Tensor:
    """At every pixel the channels times a matrix: (B, D, H, W) of x (B, C, H, W) and (C, D)."""
    rows, weights = x.permute(0, 2, 3, 1), weights.to(x.dtype)
    if add is None:
        out = rows.flatten(0, 2) @ weights
    else:
        out = torch.addmm(add.permute(0, 2, 3, 1).flatten(0, 2), rows.flatten(0, 2), weights)
    return out.view(*rows.shape[:3], -1).permute(0, 3, 1, 2)


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
