"""Candidate operations on images (DARTS, ICLR 2019, section 3.1.1 and released code).

Convolutional operations apply ReLU, convolution and batch norm, in this order. Convolutions have
no bias, except those of NAS-Bench-201 if batch norm has none. A `NormRule` configures batch norm,
which differs between search and retraining.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.layers.half import DepthwiseConv2d


@dataclass(frozen=True)
class NormRule:
    """Behaviour of batch norm inside cells.

    Attributes:
        affine: Learn scale and shift.
        after_pool: Add a batch norm after pooling, so that the outputs of mixed operations are
            comparable.
        running_stats: Keep running statistics and use them in evaluation. Otherwise every
            forward pass uses the statistics of its own batch.
    """

    affine: bool
    after_pool: bool
    running_stats: bool

    def __call__(self, channels: int) -> nn.BatchNorm2d:
        """Return a batch norm for (B, channels, H, W)."""
        return nn.BatchNorm2d(channels, affine=self.affine, track_running_stats=self.running_stats)


RETRAIN_NORM = NormRule(affine=True, after_pool=False, running_stats=True)
"""Rule of retraining: ordinary batch norm, none after pooling."""


class Zero(nn.Module):
    """`none`: zeros in the shape of the edge's output. `0 * x` would propagate NaN."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros (B, C, ceil(H / stride), ceil(W / stride)) for x (B, C, H, W)."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class Noise(nn.Module):
    """`noise`: standard normal numbers in the shape of the edge's output (RobustDARTS, space S4).

    They do not depend on the input, and are drawn anew in every pass, also in evaluation.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return noise (B, C, ceil(H / stride), ceil(W / stride)) for x (B, C, H, W)."""
        # not `randn_like`, whose numbers depend on the memory format of x
        shape = x[:, :, :: self.stride, :: self.stride].shape
        return torch.randn(shape, dtype=x.dtype, device=x.device)


class StridedPointwise(nn.Conv2d):
    """A 1x1 convolution with a stride.

    In the channels-last format it reads its pixels before it convolves. The weight gradient of
    oneDNN (that of torch 2.15, with AVX-512) writes past its memory otherwise, at 8 channels.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, ceil(H / stride), ceil(W / stride)) for x (B, inputs, H, W)."""
        # a shifted view of a channels-last tensor is not contiguous, but has its strides
        if x.stride(1) != 1:
            return super().forward(x)
        rows, columns = self.stride
        return F.conv2d(x[:, :, ::rows, ::columns], self.weight, self.bias)


class FactorizedReduce(nn.Module):
    """Halve height and width by two stride-2 1x1 convolutions, the second shifted by one pixel.

    The first reads the pixels with two even coordinates, the second those with two odd ones.

    Args:
        inputs: Channels in.
        outputs: Channels out, even.
        norm: Batch norm rule.
    """

    def __init__(self, inputs: int, outputs: int, norm: NormRule) -> None:
        super().__init__()
        self.conv0 = StridedPointwise(inputs, outputs // 2, 1, stride=2, bias=False)
        self.conv1 = StridedPointwise(inputs, outputs - outputs // 2, 1, stride=2, bias=False)
        self.norm = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H/2, W/2) for x (B, inputs, H, W) with even H and W."""
        x = x.relu()
        halves = (self.conv0(x), self.conv1(x[:, :, 1:, 1:]))
        out: Tensor = self.norm(torch.cat(halves, dim=1))
        return out


def relu_conv_norm(inputs: int, outputs: int, norm: NormRule) -> nn.Sequential:
    """Return ReLU, 1x1 convolution and batch norm: the preprocessing of a cell's inputs."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False), norm(outputs))


def _depthwise(channels: int, kernel: int, stride: int, dilation: int) -> list[nn.Module]:
    """Return ReLU, depthwise kernel x kernel and pointwise 1x1; stride 1 keeps H and W."""
    padding = dilation * (kernel - 1) // 2
    depthwise = DepthwiseConv2d(
        channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False
    )
    return [nn.ReLU(), depthwise, nn.Conv2d(channels, channels, 1, bias=False)]


def _sep_conv(channels: int, stride: int, norm: NormRule, kernel: int) -> nn.Module:
    """Return two depthwise-separable convolutions; only the first one has the stride."""
    first = _depthwise(channels, kernel, stride, dilation=1)
    second = _depthwise(channels, kernel, 1, dilation=1)
    return nn.Sequential(*first, norm(channels), *second, norm(channels))


def _dil_conv(channels: int, stride: int, norm: NormRule, kernel: int) -> nn.Module:
    return nn.Sequential(*_depthwise(channels, kernel, stride, dilation=2), norm(channels))


def _pool(pool: nn.Module, channels: int, norm: NormRule) -> nn.Module:
    return nn.Sequential(pool, norm(channels)) if norm.after_pool else pool


def _max_pool(channels: int, stride: int, norm: NormRule) -> nn.Module:
    return _pool(nn.MaxPool2d(3, stride, padding=1), channels, norm)


def _avg_pool(channels: int, stride: int, norm: NormRule) -> nn.Module:
    pool = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
    return _pool(pool, channels, norm)


def _skip(channels: int, stride: int, norm: NormRule) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, norm)


def _conv_7x1_1x7(channels: int, stride: int, norm: NormRule) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False),
        nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False),
        norm(channels),
    )


def _nor_conv(channels: int, stride: int, norm: NormRule, kernel: int) -> nn.Module:
    """Return ReLU, convolution, batch norm (NAS-Bench-201); with a bias if batch norm has none."""
    padding = (kernel - 1) // 2
    kind = StridedPointwise if kernel == 1 and stride > 1 else nn.Conv2d
    conv = kind(channels, channels, kernel, stride, padding, bias=not norm.affine)
    return nn.Sequential(nn.ReLU(), conv, norm(channels))


Builder = Callable[[int, int, NormRule], nn.Module]
"""Builds an operation from (channels, stride, norm)."""

PRIMITIVES: dict[str, Builder] = {
    "none": lambda channels, stride, norm: Zero(stride),  # noqa: ARG005 (one signature for all)
    "noise": lambda channels, stride, norm: Noise(stride),  # noqa: ARG005 (as above)
    "max_pool_3x3": _max_pool,
    "avg_pool_3x3": _avg_pool,
    "skip_connect": _skip,
    "sep_conv_3x3": lambda c, stride, norm: _sep_conv(c, stride, norm, kernel=3),
    "sep_conv_5x5": lambda c, stride, norm: _sep_conv(c, stride, norm, kernel=5),
    "sep_conv_7x7": lambda c, stride, norm: _sep_conv(c, stride, norm, kernel=7),
    "dil_conv_3x3": lambda c, stride, norm: _dil_conv(c, stride, norm, kernel=3),
    "dil_conv_5x5": lambda c, stride, norm: _dil_conv(c, stride, norm, kernel=5),
    "conv_7x1_1x7": _conv_7x1_1x7,
    "nor_conv_1x1": lambda c, stride, norm: _nor_conv(c, stride, norm, kernel=1),
    "nor_conv_3x3": lambda c, stride, norm: _nor_conv(c, stride, norm, kernel=3),
}
"""Builders of the shipped operations, by name. All keep the channels of (B, C, H, W)."""
