"""Convolutions of tiny images as matrix products: the overhead of a convolution dominates there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.supernet.fast.constants import identity, made_once
from nas_lightning.supernet.fast.cpu import thresholds


def tiny(x: Tensor) -> bool:
    """Return True if `product` is faster than a convolution of the images x (B, C, H, W)."""
    return x.device.type == "cpu" and x.shape[1:].numel() <= thresholds.TINY


def product(conv: Any, x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve without bias and groups, with the stride, padding and dilation of `conv`.

    Args:
        conv: Source of stride, padding and dilation; its own kernel is not used.
        x: Images (B, C, H, W).
        kernel: (outputs, C, height, width).
    """
    outputs, inputs, height, width = kernel.shape
    taps, size = _taps(
        (x.shape[2], x.shape[3]), (height, width), conv.stride, conv.padding, conv.dilation,
        kernel.dtype, kernel.device,
    )  # fmt: skip
    # the weight of each input pixel in each output pixel, for each pair of channels
    parts = (kernel.flatten(2).flatten(0, 1) @ taps).view(outputs, inputs, -1, size[0] * size[1])
    matrix = parts.permute(2, 1, 3, 0).flatten(2).flatten(0, 1)
    out: Tensor = x.permute(0, 2, 3, 1).flatten(1) @ matrix
    return out.view(-1, *size, outputs).permute(0, 3, 1, 2)


@made_once
def _taps(
    image: tuple[int, int],
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, tuple[int, int]]:
    """Mark the kernel entry that leads from each input pixel to each output pixel.

    Returns:
        Zeros and ones (entries, inputs · outputs), and the output's height and width.
    """
    pixels = identity(image[0] * image[1], dtype, device).view(-1, 1, *image)
    read = F.unfold(pixels, window, dilation, padding, stride)  # (inputs, entries, outputs)
    spans = zip(image, window, stride, padding, dilation, strict=True)
    rows, columns = ((n + 2 * p - d * (w - 1) - 1) // s + 1 for n, w, s, p, d in spans)
    return read.transpose(0, 1).flatten(1), (rows, columns)
