"""Convolutions of tiny images as matrix products: a convolution costs more than its arithmetic."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.supernet.fast.constants import identity, made_once
from nas_lightning.supernet.fast.cpu import AVX512

TINY = 128 if AVX512 else 64
"""Numbers of an image up to which its convolutions are products; measured by
benchmarks/convolutions.py on either kind of CPU."""


def tiny(x: Tensor) -> bool:
    """Whether the images of a batch (B, C, H, W) are so small, on a CPU."""
    return x.device.type == "cpu" and x.shape[1:].numel() <= TINY


def product(conv: Any, x: Tensor, kernel: Tensor) -> Tensor:
    """A convolution with stride, padding and dilation of another one, without bias and groups.

    Args:
        conv: The other one.
        x: What it reads (B, C, H, W).
        kernel: (outputs, C, height, width).
    """
    outputs, inputs, height, width = kernel.shape
    taps, size = _taps(
        (x.shape[2], x.shape[3]), (height, width), conv.stride, conv.padding, conv.dilation,
        kernel.dtype, kernel.device,
    )  # fmt: skip
    # what an input pixel adds to an output pixel, channel by channel
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
    """Which entry of a kernel leads from an input pixel to an output pixel.

    Returns:
        Zeros and ones (entries, inputs · outputs), and the output's height and width.
    """
    pixels = identity(image[0] * image[1], dtype, device).view(-1, 1, *image)
    read = F.unfold(pixels, window, dilation, padding, stride)  # (inputs, entries, outputs)
    spans = zip(image, window, stride, padding, dilation, strict=True)
    rows, columns = ((n + 2 * p - d * (w - 1) - 1) // s + 1 for n, w, s, p, d in spans)
    return read.transpose(0, 1).flatten(1), (rows, columns)
