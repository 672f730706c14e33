"""Heads of networks: the layers from the last features to the output."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from nas_lightning.errors import UsageError
from nas_lightning.layers.auxiliary import AuxiliaryHead
from nas_lightning.layers.stems import StemName, auxiliary_cell, global_average

HeadName = Literal["classification", "dense"]


class ClassificationHead(nn.Linear):
    """Global average pooling and a linear layer.

    Args:
        in_features: Channels C of the features.
        out_features: Number of classes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, num_classes) for features x (B, C, H, W)."""
        return super().forward(global_average(x))


class DenseHead(nn.Module):
    """A 1x1 convolution and bilinear upsampling, for an output at each pixel of the image.

    Args:
        in_features: Channels C of the features.
        out_features: Outputs for each pixel.
        scale: Height and width of the image, in units of those of the features.
    """

    def __init__(self, in_features: int, out_features: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv = nn.Conv2d(in_features, out_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (B, out_features, scale·H, scale·W) for features x (B, C, H, W)."""
        return upsample(self.conv(x), self.scale)


def upsample(x: Tensor, scale: int) -> Tensor:
    """Return x (B, C, H, W), enlarged bilinearly to (B, C, scale·H, scale·W).

    The values are those of `interpolate(x, scale_factor=scale, mode="bilinear")`, whose backward
    pass on CUDA is not deterministic. Here they are two products with matrices.
    """
    rows, columns = (_weights(size, scale, x) for size in x.shape[-2:])
    return rows @ x @ columns.T


def _weights(size: int, scale: int, like: Tensor) -> Tensor:
    """Return the weights (scale·size, size) of linear interpolation between centres of pixels."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    places = torch.arange(size * scale, device=like.device, dtype=dtype)
    places = ((places + 0.5) / scale - 0.5).clamp(0, size - 1)
    pixels = torch.arange(size, device=like.device, dtype=dtype)
    return (1 - (places[:, None] - pixels).abs()).clamp(min=0).to(like.dtype)


class Heads(NamedTuple):
    """Functions that build the heads of a network from the channels of their features.

    Attributes:
        main: Builds the head.
        auxiliary: Builds the auxiliary head; `None` for none.
    """

    main: Callable[[int], nn.Module]
    auxiliary: Callable[[int], nn.Module] | None


def make_heads(
    name: HeadName,
    outputs: int,
    image_size: int,
    sizes: Sequence[int],
    stem: StemName,
    auxiliary: bool,
) -> Heads:
    """Return the functions that build the heads of a stack of cells.

    Args:
        name: `classification` for an output for each image, `dense` for one at each pixel.
        outputs: Number of outputs, for each image or at each pixel.
        image_size: Height and width of the image, in pixels.
        sizes: Height and width of each cell's output, in pixels.
        stem: Name of the network's stem.
        auxiliary: True for an auxiliary head after the second reduction cell. With `dense` it is
            another `DenseHead`.

    Raises:
        UsageError: There is no such head, or the image is no multiple of the features.
    """
    at = sizes[auxiliary_cell(len(sizes))]
    if name == "classification":
        other = functools.partial(AuxiliaryHead, num_classes=outputs, stem=stem, size=at)
        main: Callable[[int], nn.Module] = functools.partial(
            ClassificationHead, out_features=outputs
        )
        return Heads(main, other if auxiliary else None)
    if name != "dense":
        raise UsageError(f"head must be classification or dense, found {name!r:.40}")
    dense = [
        functools.partial(DenseHead, out_features=outputs, scale=_scale(image_size, size))
        for size in (sizes[-1], at)
    ]
    return Heads(dense[0], dense[1] if auxiliary else None)


def _scale(image_size: int, size: int) -> int:
    if image_size % size:
        raise UsageError(
            f"a dense head enlarges features by a whole number, but images of {image_size} pixels "
            f"have features of {size}: resize or pad them to a multiple of 4 (of 32 with the "
            f"ImageNet stem)"
        )
    return image_size // size
