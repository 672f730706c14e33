"""The skeleton of NAS-Bench-201 around its cells (Dong and Yang, ICLR 2020)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from nas_lightning.layers.primitives import NormRule
from nas_lightning.layers.stems import feature_sizes


def check_image(data_spec: Mapping[str, Any]) -> None:
    """Check that images can be halved twice, if their size is known.

    Raises:
        UsageError: The size is not a multiple of 4.
    """
    if (size := data_spec.get("image_size")) is not None:
        feature_sizes(size, "cifar", ("reduce", "reduce"))


class ResidualReduction(nn.Module):
    """Halve the image and double the channels: two 3x3 convolutions beside a pooled shortcut.

    Args:
        channels: Channels in.
        norm: Batch norm rule.
    """

    def __init__(self, channels: int, norm: NormRule) -> None:
        super().__init__()
        wide = 2 * channels
        self.body = nn.Sequential(
            *(nn.ReLU(), nn.Conv2d(channels, wide, 3, 2, 1, bias=False), norm(wide)),
            *(nn.ReLU(), nn.Conv2d(wide, wide, 3, 1, 1, bias=False), norm(wide)),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(channels, wide, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2C, H/2, W/2) for x (B, C, H, W)."""
        out: Tensor = self.shortcut(x) + self.body(x)
        return out


class Skeleton(nn.Module):
    """A stem, three stages of cells with a residual reduction between them, and a head.

    Args:
        in_channels: Channels of the image.
        channels: Channels C of the first stage; 2C and 4C follow.
        cells: Number N of cells in each stage.
        running_stats: Batch norm outside the cells keeps running statistics.
        make_cell: Builds a cell from its number of channels. The cell is called with x and the
            further arguments of `forward`.
        make_head: Builds the head from the channels of the last stage.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        cells: int,
        running_stats: bool,
        make_cell: Callable[[int], nn.Module],
        make_head: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        norm = NormRule(affine=True, after_pool=False, running_stats=running_stats)
        stem = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.stem = nn.Sequential(stem, norm(channels))
        widths = (channels, 2 * channels, 4 * channels)
        self.stages = nn.ModuleList(
            nn.ModuleList(make_cell(width) for _ in range(cells)) for width in widths
        )
        self.reductions = nn.ModuleList(ResidualReduction(width, norm) for width in widths[:-1])
        self.last = nn.Sequential(norm(widths[-1]), nn.ReLU())
        self.head = make_head(widths[-1])

    @property
    def cells(self) -> int:
        """Number of cells in all stages."""
        return sum(len(cast("nn.ModuleList", stage)) for stage in self.stages)

    def forward(self, x: Tensor, *weights: Sequence[object]) -> Any:
        """Return the head's output, logits (B, num_classes).

        Args:
            x: Images (B, in_channels, H, W).
            weights: Further arguments of each cell; none by default.
        """
        further = iter(weights)
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            if index:
                x = self.reductions[index - 1](x)
            for cell in cast("nn.ModuleList", stage):
                x = cell(x, *next(further, ()))
        return self.head(self.last(x))
