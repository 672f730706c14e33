"""Supernets: networks of mixed cells, built from a configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from nas_lightning.errors import UsageError
from nas_lightning.spaces import DARTS_PRIMITIVES, SearchSpace, darts_space
from nas_lightning.spaces.macro import STEMS, StemName, cell_kinds, feature_sizes
from nas_lightning.spaces.primitives import PRIMITIVES, NormRule
from nas_lightning.supernet.cells import SearchCell
from nas_lightning.supernet.mixing import Mixing


class Supernet(nn.Module, ABC):
    """The weights of every candidate. It owns no α: mixing weights are an argument."""

    @abstractmethod
    def forward(self, x: Tensor, mixing: Mixing) -> Tensor:
        """The network's output for inputs x under the mixing weights."""


class SupernetFactory(ABC):
    """Which supernet to build; the part of a search that the configuration names.

    Every argument of a subclass's constructor is kept under its own name.
    """

    @property
    @abstractmethod
    def space(self) -> SearchSpace:
        """The search space that it covers."""

    @abstractmethod
    def build(self, data_spec: Mapping[str, int], k: int) -> Supernet:
        """Build the supernet.

        Args:
            data_spec: Sizes of the data, from the data module.
            k: K of partial channels; 1 mixes all channels.

        Raises:
            UsageError: These settings do not fit together.
        """


class CellSupernet(Supernet):
    """Stem, mixed cells, global average pooling and a linear head.

    Args:
        space: The search space.
        in_channels: Channels of the image.
        num_classes: Outputs of the head.
        channels: Channels C of the first cell; doubled by every reduction cell.
        layers: Number of cells.
        stem: Which stem.
        stem_multiplier: Channels of the stem, in units of C.
        k: K of partial channels.
        norm: Batch norm rule inside the cells.
    """

    def __init__(
        self,
        space: SearchSpace,
        in_channels: int,
        num_classes: int,
        channels: int,
        layers: int,
        stem: StemName,
        stem_multiplier: int,
        k: int,
        norm: NormRule,
    ) -> None:
        super().__init__()
        self.stem = STEMS[stem](in_channels, channels, stem_multiplier, norm.running_stats)
        self.cells = nn.ModuleList()
        before, shrunk = self.stem.channels, self.stem.shrinks
        self.kinds = cell_kinds(layers)
        for kind in self.kinds:
            reduction = kind == "reduce"
            channels *= 2 if reduction else 1
            cell = space.cell(kind)
            self.cells.append(SearchCell(cell, before, channels, reduction, shrunk, k, norm))
            before, shrunk = (before[1], len(cell.nodes) * channels), reduction
        self.head = nn.Linear(before[1], num_classes)

    def forward(self, x: Tensor, mixing: Mixing) -> Tensor:
        """Logits (B, num_classes) for images x (B, in_channels, H, W)."""
        s0, s1 = self.stem(x)
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            s0, s1 = s1, cell(s0, s1, mixing.ops[kind], mixing.edges[kind])
        # not adaptive pooling: its backward pass on CUDA is not deterministic
        logits: Tensor = self.head(s1.mean((2, 3)))
        return logits


class DartsSupernet(SupernetFactory):
    """The supernet of the DARTS cell space.

    Args:
        channels: Channels C of the first cell.
        layers: Number of cells.
        stem: `cifar` (one convolution, images keep their size) or `imagenet` (images shrink to
            an eighth before the first cell).
        stem_multiplier: Channels of the stem, in units of C.
        nodes: Intermediate nodes of a cell.
        primitives: Candidate operations on every edge.
        running_stats: Batch norm keeps running statistics, as the released DARTS code does;
            off, every pass uses the statistics of its own batch, as the paper says.
    """

    def __init__(
        self,
        channels: int = 16,
        layers: int = 8,
        stem: StemName = "cifar",
        stem_multiplier: int = 3,
        nodes: int = 4,
        primitives: Sequence[str] = DARTS_PRIMITIVES,
        running_stats: bool = False,
    ) -> None:
        unknown = sorted(set(primitives) - set(PRIMITIVES))
        if unknown or len(set(primitives)) != len(primitives) or len(primitives) < 2:
            reason = f"unknown {', '.join(unknown)}" if unknown else "at least 2, each once"
            raise UsageError(f"primitives: {reason}; choose from {', '.join(PRIMITIVES)}")
        self.channels = channels
        self.layers = layers
        self.stem: StemName = stem
        self.stem_multiplier = stem_multiplier
        self.nodes = nodes
        self.primitives = list(primitives)
        self.running_stats = running_stats
        self._space = darts_space(nodes, primitives)

    @property
    def space(self) -> SearchSpace:
        """The DARTS cell space with these nodes and primitives."""
        return self._space

    def build(self, data_spec: Mapping[str, int], k: int) -> CellSupernet:
        """Build the supernet for images; needs `in_channels`, `num_classes`, `image_size`."""
        feature_sizes(data_spec["image_size"], self.stem, cell_kinds(self.layers))
        return CellSupernet(
            self.space,
            data_spec["in_channels"],
            data_spec["num_classes"],
            self.channels,
            self.layers,
            self.stem,
            self.stem_multiplier,
            k,
            NormRule(affine=False, after_pool=True, running_stats=self.running_stats),
        )
