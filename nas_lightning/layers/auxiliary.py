"""The auxiliary head: a second classifier after two thirds of the network, for training only."""

from __future__ import annotations

from torch import Tensor, nn

from nas_lightning.errors import UsageError
from nas_lightning.layers.stems import StemName, global_average

POOL, KERNEL = 5, 2
"""Sides of the pooling window and of the last convolution, in pixels."""


class AuxiliaryHead(nn.Module):
    """Pooling, 1x1 convolution to 128, 2x2 convolution to 768, linear (DARTS, released code).

    Args:
        channels: Channels of the features.
        num_classes: Outputs.
        stem: Name of the stem. With `imagenet` the pooling has stride 2 and the last batch norm
            is left out, as in the released code.
        size: Height and width of the features, in pixels.

    Raises:
        UsageError: The features are too small.
    """

    def __init__(self, channels: int, num_classes: int, stem: StemName, size: int) -> None:
        super().__init__()
        stride = 2 if stem == "imagenet" else 3
        if (size - POOL) // stride + 1 < KERNEL:
            raise UsageError(
                f"the auxiliary head needs features of at least {POOL + stride}x{POOL + stride} "
                f"pixels, found {size}x{size}: set auxiliary_weight to 0 or use larger images"
            )
        last = [nn.BatchNorm2d(768)] if stem == "cifar" else []
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(POOL, stride, count_include_pad=False),
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, KERNEL, bias=False),
            *last,
            nn.ReLU(),
        )
        self.head = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, num_classes) for features x (B, C, H, W)."""
        # one pixel is left at the papers' sizes; the mean also handles larger images
        logits: Tensor = self.head(global_average(self.features(x)))
        return logits
