"""Heads of networks: the layers from the last features to the output."""

from __future__ import annotations

from torch import Tensor, nn

from nas_lightning.layers.stems import global_average


class ClassificationHead(nn.Linear):
    """Global average pooling and a linear layer.

    Args:
        in_features: Channels C of the features.
        out_features: Number of classes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, num_classes) for features x (B, C, H, W)."""
        return super().forward(global_average(x))
