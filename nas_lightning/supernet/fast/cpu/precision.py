"""Types that the fast cell's own gradients on a CPU are computed in."""

from __future__ import annotations

import torch
from torch import Tensor

from nas_lightning.layers.half import computed_in
from nas_lightning.supernet.fast.cpu import thresholds


def fast(x: Tensor) -> bool:
    """Return True if gradients that are not PyTorch's own are faster in the type of x.

    In bfloat16 they are on CPUs with instructions for it.
    """
    dtype = computed_in(x)
    return (dtype == torch.bfloat16 and thresholds.BFLOAT16) or dtype in (
        torch.float32,
        torch.float64,
    )


def cast(x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in the type of `computed_in`: autocast does not reach into own gradients."""
    dtype = computed_in(x)
    return x.to(dtype), kernel.to(dtype)
