"""The network of NAS-Bench-Macro."""

from __future__ import annotations

from torch import Tensor, nn

from nas_lightning.layers.choice import Choice
from nas_lightning.layers.heads import ClassificationHead
from nas_lightning.layers.mbconv import MBConv, conv_norm
from nas_lightning.ranges import WIDTH, check_value
from nas_lightning.spaces.nas_bench_macro.space import STAGES, NasBenchMacroSpace

FEATURES = 1280
"""Channels of the last convolution."""


class NasBenchMacroNetwork(nn.Module):
    """The chain of NAS-Bench-Macro for images of 32 by 32 pixels (Su et al., CVPR 2021).

    A 3x3 convolution, three stages of 2, 3 and 3 searched layers, a 1x1 convolution to 1280
    channels, global average pooling and a linear layer, with ReLU. The first layer of each stage
    halves the image and doubles the channels. A layer is the identity, an `MBConv` with expansion
    3 and kernel 3, or one with expansion 6 and kernel 5. The identity of the first layer of a stage
    is a 1x1 convolution of stride 2 with batch norm.

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes.
        channels: Channels of the first convolution; 32 in the benchmark.

    Raises:
        UsageError: `channels` is out of range.
    """

    search_space = NasBenchMacroSpace

    def __init__(self, in_channels: int, num_classes: int, channels: int = 32) -> None:
        super().__init__()
        check_value("NasBenchMacroNetwork: channels", channels, WIDTH)
        self.stem = conv_norm(in_channels, channels, 3, activation="relu")
        layers: list[nn.Module] = []
        for number in STAGES:
            for row in range(number):
                outputs = channels if row else 2 * channels
                layers.append(_layer(f"layer_{len(layers)}", channels, outputs))
                channels = outputs
        self.layers = nn.Sequential(*layers)
        self.mix = conv_norm(channels, FEATURES, activation="relu")
        self.head = ClassificationHead(FEATURES, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, num_classes) for images x (B, in_channels, H, W)."""
        out: Tensor = self.head(self.mix(self.layers(self.stem(x))))
        return out


def _layer(name: str, inputs: int, outputs: int) -> Choice:
    """Return a searched layer, of stride 2 if the channels change."""
    stride = 1 if inputs == outputs else 2
    same = nn.Identity() if stride == 1 else conv_norm(inputs, outputs, 1, 2, activation=None)
    candidates = {
        "identity": same,
        "mb3_3x3": MBConv(inputs, outputs, 3, 3, stride, activation="relu"),
        "mb6_5x5": MBConv(inputs, outputs, 5, 6, stride, activation="relu"),
    }
    return Choice(candidates, name)
