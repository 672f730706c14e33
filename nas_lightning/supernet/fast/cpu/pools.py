"""Pools of few channels: a CPU takes as long for few as for many, so images become channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nas_lightning.supernet.fast.cpu import thresholds


def pooled(pools: Sequence[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    """Pool images (B, C, H, W); return the results side by side (B, P · C, H', W')."""
    batch, channels, height, width = x.shape
    limit, wide = thresholds.FEW_POOLED, thresholds.POOL_WIDTH
    few = channels < limit and limit * channels <= height * width and x.device.type == "cpu"
    images = math.gcd(batch, wide // channels) if few else 1
    if images > 1:
        return side_by_side(pools, x, images)
    return torch.cat([pool(x) for pool in pools], dim=1)


def side_by_side(pools: Sequence[Callable[[Tensor], Tensor]], x: Tensor, images: int) -> Tensor:
    """Pool as `pooled` does, with the channels of several images side by side.

    Args:
        pools: Functions that treat every channel by itself.
        x: Images (B, C, H, W).
        images: Number of images to merge into one; a divisor of B.
    """
    channels = x.shape[1]
    rows = torch.unflatten(x.permute(0, 2, 3, 1), 0, (-1, images))
    beside = rows.permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)
    results = [
        torch.unflatten(pool(beside).permute(0, 2, 3, 1), 3, (images, channels)) for pool in pools
    ]
    rows = torch.cat(results, dim=4).permute(0, 3, 1, 2, 4).flatten(0, 1)
    return rows.permute(0, 3, 1, 2)
