"""The network that ProxylessNAS searches: a chain of inverted bottlenecks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import Tensor, nn

from nas_lightning.errors import UsageError
from nas_lightning.layers.choice import Choice
from nas_lightning.layers.heads import ClassificationHead
from nas_lightning.layers.mbconv import MBConv, conv_norm
from nas_lightning.ranges import DEPTH, PROBABILITY, WIDTH, Range, check_value
from nas_lightning.spaces.mobile.space import MobileSpace
from nas_lightning.text import few, shown

SKIP = "skip_connect"
MOBILE_CANDIDATES = ("mb3_3x3", "mb3_5x5", "mb3_7x7", "mb6_3x3", "mb6_5x5", "mb6_7x7", SKIP)
"""Candidates of a block: `MBConv` by expansion and kernel, and the identity."""
PATH = "nas_lightning.spaces.mobile.MobileNetwork"
CHANNELS = (24, 40, 80, 96, 192, 320)
"""Channels of each stage."""
BLOCKS = (4, 4, 4, 4, 4, 1)
"""Searched blocks of each stage."""
STRIDES = (2, 2, 2, 1, 2, 1)
"""Stride of the first block of each stage."""
STEM, FIRST, FEATURES = 32, 16, 1280
"""Channels of the stem, of the first block and of the last convolution."""
EPS = 1e-3
"""Added to the variance in batch norm."""


def rounded(channels: float) -> int:
    """Return the nearest multiple of 8, or the next one if it is less than 90 % of the channels."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


class MobileNetwork(nn.Module):
    """The chain of ProxylessNAS for ImageNet (Cai et al., ICLR 2019; released code).

    A 3x3 convolution of stride 2 to 32 channels, an `MBConv` with expansion 1 to 16 channels, six
    stages of searched blocks with 24, 40, 80, 96, 192 and 320 channels, a 1x1 convolution to 1280,
    global average pooling and a linear layer. Each searched block is a `Choice` of `MBConv` with
    kernel 3, 5 or 7 and expansion 3 or 6. Blocks that change neither size nor channels can also be
    skipped. With 4, 4, 4, 4, 4 and 1 blocks these are 6^6 · 7^15 networks.

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes.
        width: Factor of all channels, which are rounded to multiples of 8; a factor below 1 leaves
            the last convolution at 1280.
        blocks: Number of searched blocks of each stage.
        channels: Channels of each stage, before the factor.
        candidates: Candidates of each block: `mb3_5x5` is an `MBConv` with expansion 3 and kernel
            5, `skip_connect` the identity.
        small_images: Stem and first stage keep the size, for images such as those of CIFAR; images
            are then halved three times instead of five. Not of the paper.
        dropout: Probability of dropping a feature before the linear layer.

    Raises:
        UsageError: A number is out of range, or a candidate is unknown or repeated, or none of
            them can begin a stage.
    """

    search_space = MobileSpace

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        width: float = 1.0,
        blocks: Sequence[int] = BLOCKS,
        channels: Sequence[int] = CHANNELS,
        candidates: Sequence[str] = MOBILE_CANDIDATES,
        small_images: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_value("MobileNetwork: width", width, Range(0.01, 100))
        check_value("MobileNetwork: dropout", dropout, PROBABILITY)
        for name, numbers, allowed in (("blocks", blocks, DEPTH), ("channels", channels, WIDTH)):
            if len(numbers) != len(STRIDES):
                raise UsageError(
                    f"MobileNetwork: {name} must have {len(STRIDES)} numbers, one for each stage, "
                    f"found {len(numbers)}"
                )
            for number in numbers:
                check_value(f"MobileNetwork: each of {name}", number, allowed)
        _check_candidates(candidates)
        stem, inputs = rounded(STEM * width), rounded(FIRST * width)
        self.stem = nn.Sequential(
            conv_norm(in_channels, stem, 3, 1 if small_images else 2, eps=EPS),
            MBConv(stem, inputs, 3, 1, eps=EPS),
        )
        searched: list[nn.Module] = []
        for base, number, first_stride in zip(channels, blocks, STRIDES, strict=True):
            outputs = rounded(base * width)
            stride = 1 if small_images and not searched else first_stride
            for _ in range(number):
                name = f"block_{len(searched):02d}"
                searched.append(Choice(_modules(candidates, inputs, outputs, stride), name))
                inputs, stride = outputs, 1
        self.blocks = nn.Sequential(*searched)
        features = rounded(FEATURES * max(1.0, width))
        self.mix = conv_norm(inputs, features, eps=EPS)
        self.dropout = nn.Dropout(dropout)
        self.head = ClassificationHead(features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, num_classes) for images x (B, in_channels, H, W)."""
        out: Tensor = self.head(self.dropout(self.mix(self.blocks(self.stem(x)))))
        return out


def _modules(
    candidates: Sequence[str], inputs: int, outputs: int, stride: int
) -> dict[str, nn.Module]:
    """Return the candidates of a block that keep to its stride and channels."""
    modules: dict[str, nn.Module] = {}
    for name in candidates:
        if name != SKIP:
            expansion, kernel = _numbers(name)
            modules[name] = MBConv(inputs, outputs, kernel, expansion, stride, eps=EPS)
        elif stride == 1 and inputs == outputs:
            modules[name] = nn.Identity()
    return modules


def _numbers(name: str) -> tuple[int, int]:
    """Return expansion and kernel of a candidate such as `mb3_5x5`.

    Raises:
        UsageError: The name has another form.
    """
    found = re.fullmatch(r"mb([1-9])_([3579])x\2", name)
    if found is None:
        raise UsageError(
            f"MobileNetwork: no candidate {shown(name)}: the usual ones are "
            f"{few(MOBILE_CANDIDATES)}"
        )
    return int(found[1]), int(found[2])


def _check_candidates(candidates: Sequence[str]) -> None:
    blocks = [name for name in candidates if name != SKIP]
    for name in blocks:
        _numbers(name)
    if not blocks or len(set(candidates)) < len(candidates):
        raise UsageError("MobileNetwork: list candidates once each, and at least one MBConv")
