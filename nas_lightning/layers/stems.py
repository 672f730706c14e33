"""Stems of networks, and the size of the image after each cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from nas_lightning.errors import UsageError

StemName = Literal["cifar", "imagenet"]


def auxiliary_cell(layers: int) -> int:
    """Return the index of the cell that an auxiliary head reads, the second reduction cell."""
    return 2 * layers // 3


def global_average(x: Tensor) -> Tensor:
    """Return the mean over the pixels (B, C) of x (B, C, H, W).

    Adaptive pooling is avoided, because its backward pass on CUDA is not deterministic. The
    gradient has the memory format of x, because earlier layers are slow if the two differ.
    """
    if x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1).mean((1, 2))
    return x.mean((2, 3))


def _conv_norm(inputs: int, outputs: int, stride: int, running_stats: bool) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(outputs, track_running_stats=running_stats)]


class CifarStem(nn.Module):
    """A 3x3 convolution and batch norm, whose output is both inputs of the first cell.

    Args:
        inputs: Channels of the image.
        channels: Channels C of the first cell.
        multiplier: The stem has `multiplier * channels` channels.
        running_stats: Batch norm keeps running statistics.
    """

    shrinks = False

    def __init__(
        self, inputs: int, channels: int, multiplier: int = 3, running_stats: bool = True
    ) -> None:
        super().__init__()
        self.channels = (multiplier * channels, multiplier * channels)
        self.body = nn.Sequential(*_conv_norm(inputs, multiplier * channels, 1, running_stats))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output (B, multiplier·C, H, W) twice, for images x (B, inputs, H, W)."""
        out = self.body(x)
        return out, out


class ImageNetStem(nn.Module):
    """Three 3x3 convolutions of stride 2; the inputs of the first cell are 1/4 and 1/8 in size.

    Args:
        inputs: Channels of the image.
        channels: Channels C of the first cell.
        multiplier: The stem has `multiplier * channels` channels: 3 in the PC-DARTS supernet, 1
            in every retraining.
        running_stats: Batch norm keeps running statistics.

    Raises:
        UsageError: The stem has a single channel, which cannot be halved.
    """

    shrinks = True

    def __init__(
        self, inputs: int, channels: int, multiplier: int = 1, running_stats: bool = True
    ) -> None:
        super().__init__()
        channels *= multiplier
        if channels < 2:
            raise UsageError(f"the ImageNet stem needs at least 2 channels, found {channels}")
        self.channels = (channels, channels)
        self.stem0 = nn.Sequential(
            *_conv_norm(inputs, channels // 2, 2, running_stats),
            nn.ReLU(),
            *_conv_norm(channels // 2, channels, 2, running_stats),
        )
        self.stem1 = nn.Sequential(nn.ReLU(), *_conv_norm(channels, channels, 2, running_stats))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, C, H/4, W/4) and (B, C, H/8, W/8) for images x (B, inputs, H, W)."""
        s0 = self.stem0(x)
        return s0, self.stem1(s0)


STEMS: dict[StemName, type[CifarStem] | type[ImageNetStem]] = {
    "cifar": CifarStem,
    "imagenet": ImageNetStem,
}
"""Stems by name."""


def feature_sizes(image_size: int, stem: StemName, kinds: Sequence[str]) -> list[int]:
    """Return the height (= width) of each cell's output, in pixels.

    Raises:
        UsageError: An odd size would have to be halved.
    """
    size = image_size
    if stem == "imagenet":
        before = (size + 3) // 4  # two convolutions of stride 2 and padding 1, each rounding up
        _even(before, image_size, "after the stem's second convolution")
        size = before // 2
    sizes = []
    for index, kind in enumerate(kinds):
        if kind == "reduce":
            _even(size, image_size, f"before reduction cell {index}")
            size //= 2
        sizes.append(size)
    return sizes


def _even(size: int, image_size: int, where: str) -> None:
    if size % 2:
        raise UsageError(
            f"images of {image_size}x{image_size} pixels are {size}x{size} {where}, and an odd "
            f"size cannot be halved: resize or pad them to a multiple of 4 (of 32 with the "
            f"ImageNet stem)"
        )
