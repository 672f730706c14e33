"""Batch norm of few channels on a CPU, with several pixels side by side as channels.

PyTorch's own takes as long for 4 channels as for 64: its vectors run over the channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

FEW = 4
"""So many channels are few. Up to 15 it would pay (benchmarks/convolutions.py), but it takes ten
times as many operations as PyTorch's own."""
PIXELS = 2**15
"""Pixels of a batch from which on `normalize` pays; measured by benchmarks/convolutions.py."""
WIDTH = 128
"""Numbers side by side."""


def narrow(x: Tensor) -> bool:
    """Whether a batch (B, C, H, W) has so few channels, of so many pixels, on a CPU."""
    channels = x.shape[1]
    few = channels <= FEW and x.numel() >= PIXELS * channels
    return few and x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)


def normalize(x: Tensor, scale: Tensor | None, eps: float) -> Tensor:
    """Batch norm with the statistics of the batch, times a scale.

    Args:
        x: Images (B, C, H, W).
        scale: (C,); none for ones.
        eps: Added to the variance.

    Returns:
        (B, C, H, W) in the channels-last format.
    """
    out: Tensor = _Norm.apply(x, scale, eps)
    return out


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor | None, eps: float) -> Tensor:
        rows = _Rows(x)
        mean = rows.mean(rows.values)
        centered = rows.values - rows.wide(mean)
        deviation = (rows.mean(centered * centered) + eps).rsqrt_()
        ctx.save_for_backward(x, scale, mean, deviation)
        ctx.eps = eps
        factor = deviation if scale is None else deviation * scale
        return rows.images(centered.mul_(rows.wide(factor)))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, scale, mean, deviation = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody differentiates twice
            of_x, of_scale, _ = torch.ops.aten.native_batch_norm_backward(
                grads[0], x, scale, None, None, mean, deviation, True, ctx.eps,
                (True, scale is not None, False),
            )  # fmt: skip
            return of_x, of_scale if scale is not None else None, None
        rows, given = _Rows(x), _Rows(grads[0]).values
        centered = rows.values - rows.wide(mean)
        of_mean, of_scale = rows.mean(given), rows.mean(given * centered) * deviation
        factor = deviation if scale is None else deviation * scale
        # factor · (given - of_mean - centered · deviation · of_scale)
        centered.mul_(rows.wide(-factor * deviation * of_scale)).sub_(rows.wide(factor * of_mean))
        of_x = rows.images(centered.addcmul_(given, rows.wide(factor)))
        return of_x, None if scale is None else of_scale * rows.pixels, None


class _Rows:
    """Images (B, C, H, W) as rows of about `WIDTH` numbers.

    Attributes:
        values: The rows, pixel by pixel.
        pixels: B · H · W.
    """

    def __init__(self, x: Tensor) -> None:
        self.batch, self.channels, *self.size = x.shape
        self.pixels = x.numel() // self.channels
        self.times = 1  # pixels side by side
        while 2 * self.times * self.channels <= WIDTH and self.pixels % (2 * self.times) == 0:
            self.times *= 2
        self.values = x.permute(0, 2, 3, 1).reshape(-1, self.times * self.channels)

    def mean(self, rows: Tensor) -> Tensor:
        """Mean over the pixels (C,)."""
        return rows.sum(0).view(self.times, self.channels).sum(0).div_(self.pixels)

    def wide(self, values: Tensor) -> Tensor:
        """What belongs to channels (C,), once for every pixel of a row."""
        return values.repeat(self.times)

    def images(self, rows: Tensor) -> Tensor:
        """Rows as images (B, C, H, W)."""
        return rows.view(self.batch, *self.size, self.channels).permute(0, 3, 1, 2)
