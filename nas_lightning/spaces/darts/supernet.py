"""Supernets: networks of mixed cells, built from a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from nas_lightning.architecture import SearchSpace
from nas_lightning.layers.auxiliary import AuxiliaryHead
from nas_lightning.layers.primitives import PRIMITIVES, NormRule
from nas_lightning.layers.stems import (
    STEMS,
    StemName,
    auxiliary_cell,
    feature_sizes,
    global_average,
)
from nas_lightning.spaces.darts.cell import SearchCell
from nas_lightning.spaces.darts.space import (
    DARTS_PRIMITIVES,
    cell_kinds,
    darts_space,
    individual_space,
    layer_kinds,
)
from nas_lightning.supernet.base import Supernet, SupernetFactory, check_primitives
from nas_lightning.supernet.execution import CellExecution
from nas_lightning.supernet.mixing import Mixing


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
        auxiliary_size: Height and width of the features that an auxiliary head reads, in pixels;
            none for no such head.
        execution: How the cells are computed; fast by default.
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
        auxiliary_size: int | None = None,
        execution: CellExecution | None = None,
    ) -> None:
        super().__init__()
        self.execution = execution or CellExecution()
        self.auxiliary_at = auxiliary_cell(layers)
        self.auxiliary: AuxiliaryHead | None = None
        self.stem = STEMS[stem](in_channels, channels, stem_multiplier, norm.running_stats)
        self.execution.stem(self.stem)
        self.cells = nn.ModuleList()
        before, shrunk = self.stem.channels, self.stem.shrinks
        self.kinds = layer_kinds(space.kinds, layers)
        for index, role in enumerate(cell_kinds(layers)):
            reduction = role == "reduce"
            channels *= 2 if reduction else 1
            cell = space.cell(self.kinds[index])
            self.cells.append(
                SearchCell(cell, before, channels, reduction, shrunk, k, norm, self.execution)
            )
            before, shrunk = (before[1], len(cell.nodes) * channels), reduction
            if auxiliary_size is not None and index == self.auxiliary_at:
                self.auxiliary = AuxiliaryHead(before[1], num_classes, stem, auxiliary_size)
        self.head = nn.Linear(before[1], num_classes)

    def forward(self, x: Tensor, mixing: Mixing) -> Tensor:
        """Logits (B, num_classes) for images x (B, in_channels, H, W)."""
        return self.with_auxiliary(x, mixing)[0]

    def with_auxiliary(self, x: Tensor, mixing: Mixing) -> tuple[Tensor, Tensor | None]:
        """Logits (B, num_classes) and, in training with an auxiliary head, its logits."""
        s0, s1 = self.stem(self.execution.images(x))
        auxiliary = None
        cells: list[Any] = list(self.cells)
        x0 = self.execution.inputs(s0, [cells[0].preprocess[0]])
        for index, (kind, cell) in enumerate(zip(self.kinds, cells, strict=True)):
            # the next cell reads this state too
            later = [following.preprocess[0] for following in cells[index + 1 : index + 2]]
            x1, *x2 = self.execution.inputs(s1, [cell.preprocess[1], *later])
            s1 = cell(*x0, x1, mixing.ops[kind], mixing.edges[kind], mixing.active.get(kind))
            x0 = x2
            if self.training and self.auxiliary is not None and index == self.auxiliary_at:
                auxiliary = self.auxiliary(s1)
        return self.head(global_average(s1)), auxiliary


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
        individual: Search every cell by itself, with α and β of its own; off, all normal cells
            are one and all reduction cells are one.
    """

    replayable = True

    def __init__(
        self,
        channels: int = 16,
        layers: int = 8,
        stem: StemName = "cifar",
        stem_multiplier: int = 3,
        nodes: int = 4,
        primitives: Sequence[str] = DARTS_PRIMITIVES,
        running_stats: bool = False,
        individual: bool = False,
    ) -> None:
        check_primitives(primitives, PRIMITIVES)
        self.channels = channels
        self.layers = layers
        self.stem: StemName = stem
        self.stem_multiplier = stem_multiplier
        self.nodes = nodes
        self.primitives = list(primitives)
        self.running_stats = running_stats
        self.individual = individual
        self._space = (
            individual_space(layers, nodes, primitives)
            if individual
            else darts_space(nodes, primitives)
        )

    @property
    def space(self) -> SearchSpace:
        """The DARTS cell space with these nodes and primitives."""
        return self._space

    def build(
        self,
        data_spec: Mapping[str, Any],
        k: int,
        auxiliary: bool = False,
        execution: CellExecution | None = None,
    ) -> CellSupernet:
        """Build the supernet for images; needs `in_channels`, `num_classes`, `image_size`."""
        sizes = feature_sizes(data_spec["image_size"], self.stem, cell_kinds(self.layers))
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
            sizes[auxiliary_cell(self.layers)] if auxiliary else None,
            execution,
        )
