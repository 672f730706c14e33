"""Circular convolutions in one or two dimensions as plain matrix products.

Convolutions of a few channels are slow on a CPU; a product of matrices is not. And that a matrix
and its transpose act on patches makes the transposed convolution plain to see.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WIDTH = 5
"""Width of a patch along each dimension, in samples or pixels."""

OFFSETS = range(WIDTH // 2, -(WIDTH // 2) - 1, -1)
"""By how much a signal is rolled so that each sample of a patch comes to its middle."""


def patch_size(channels: int, dims: int) -> int:
    """Numbers in a patch, P = C · 5^dims."""
    window: int = WIDTH**dims
    return channels * window


def patches(u: Tensor) -> Tensor:
    """The patch around every place of every sample (P, B·n), of signals u (B, C, *n).

    Signals wrap around their ends. A matrix (F, P) times this is a convolution with F filters.
    """
    rows = u.transpose(0, 1)
    for dim in range(2, u.dim()):
        rows = torch.cat([rows.roll(offset, dim) for offset in OFFSETS])
    return rows.flatten(1)


def spread(weights: Tensor, shape: Sequence[int]) -> Tensor:
    """Put patches down where they stand and add up: the adjoint of `patches`.

    Args:
        weights: Patches (P, B·n).
        shape: (B, C, *n).

    Returns:
        Signals of that shape.
    """
    batch, _, *sizes = shape
    rows = weights.view(-1, batch, *sizes)
    for dim in reversed(range(1, rows.dim() - 1)):
        parts = rows.reshape(WIDTH, -1, *rows.shape[1:]).unbind()
        back = [part.roll(-offset, dim + 1) for part, offset in zip(parts, OFFSETS, strict=True)]
        rows = torch.stack(back).sum(dim=0)
    return rows.transpose(0, 1)
