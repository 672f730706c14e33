"""Circular convolutions in one or two dimensions as matrix products.

On a CPU, convolutions of a few channels are slow and matrix products are fast. The transposed
convolution is the transposed matrix, followed by the adjoint of `patches`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WIDTH = 5
"""Width of a patch along each dimension, in samples or pixels."""

OFFSETS = range(WIDTH // 2, -(WIDTH // 2) - 1, -1)
"""Offsets that roll each sample of a patch to its middle."""


def patch_size(channels: int, dims: int) -> int:
    """Return the number of values in a patch, P = C · 5^dims."""
    window: int = WIDTH**dims
    return channels * window


def patches(u: Tensor) -> Tensor:
    """Return the patch around every position (P, B·n) of signals u (B, C, *n).

    Signals wrap around. A matrix (F, P) times the patches is a convolution with F filters.
    """
    rows = u.transpose(0, 1)
    for dim in range(2, u.dim()):
        rows = torch.cat([rows.roll(offset, dim) for offset in OFFSETS])
    return rows.flatten(1)


def spread(weights: Tensor, shape: Sequence[int]) -> Tensor:
    """Sum overlapping patches at their positions: the adjoint of `patches`.

    Args:
        weights: Patches (P, B·n).
        shape: Shape (B, C, *n) of the signals.

    Returns:
        Signals (B, C, *n).
    """
    batch, _, *sizes = shape
    rows = weights.view(-1, batch, *sizes)
    for dim in reversed(range(1, rows.dim() - 1)):
        parts = rows.reshape(WIDTH, -1, *rows.shape[1:]).unbind()
        back = [part.roll(-offset, dim + 1) for part, offset in zip(parts, OFFSETS, strict=True)]
        rows = torch.stack(back).sum(dim=0)
    return rows.transpose(0, 1)
