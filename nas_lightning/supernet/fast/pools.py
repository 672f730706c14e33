"""Pools of few channels: a CPU takes as long for them as for many, so images become channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WIDTH = 64
"""Channels that pools of few channels run on; measured by benchmarks/convolutions.py."""
FEW = 16
"""Fewer channels are few, on images of at least `FEW` times as many pixels."""


def pooled(pools: Sequence[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    """What pools give of images (B, C, H, W), side by side (B, P · C, H', W')."""
    batch, channels, height, width = x.shape
    few = channels < FEW and FEW * channels <= height * width and x.device.type == "cpu"
    images = math.gcd(batch, WIDTH // channels) if few else 1
    if images > 1:
        return side_by_side(pools, x, images)
    return torch.cat([pool(x) for pool in pools], dim=1)


def side_by_side(pools: Sequence[Callable[[Tensor], Tensor]], x: Tensor, images: int) -> Tensor:
    """The same, with the channels of several images side by side.

    Args:
        pools: What works on every channel by itself.
        x: Images (B, C, H, W).
        images: How many are one, a divisor of B.
    """
    channels = x.shape[1]
    rows = torch.unflatten(x.permute(0, 2, 3, 1), 0, (-1, images))
    beside = rows.permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)
    given = [
        torch.unflatten(pool(beside).permute(0, 2, 3, 1), 3, (images, channels)) for pool in pools
    ]
    rows = torch.cat(given, dim=4).permute(0, 3, 1, 2, 4).flatten(0, 1)
    return rows.permute(0, 3, 1, 2)
