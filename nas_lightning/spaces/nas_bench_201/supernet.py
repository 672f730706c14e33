"""The supernet of the NAS-Bench-201 space."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, final

from torch import Tensor, nn

from nas_lightning.architecture import Cell, SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.layers.heads import ClassificationHead
from nas_lightning.layers.primitives import NormRule
from nas_lightning.layers.stack import CellModule
from nas_lightning.ranges import DEPTH, MIXED_WIDTH, check
from nas_lightning.spaces.nas_bench_201.skeleton import Skeleton, check_image
from nas_lightning.spaces.nas_bench_201.space import NAS_BENCH_201_PRIMITIVES, NasBench201Space
from nas_lightning.supernet.base import Supernet, SupernetFactory
from nas_lightning.supernet.execution import CellExecution
from nas_lightning.supernet.mixing import Active, Mixing
from nas_lightning.supernet.reference import check_partial_channels, mixed_edge


class PlainSearchCell(CellModule):
    """A mixed cell with one input, whose output is its last node.

    Args:
        cell: Edges and primitives of the cell.
        channels: Channels C of every state.
        k: K of partial channels; 1 mixes all channels.
        norm: Batch norm rule.
        execution: Computation of the cell; fast by default.
    """

    def __init__(
        self,
        cell: Cell,
        channels: int,
        k: int,
        norm: NormRule,
        execution: CellExecution | None = None,
    ) -> None:
        super().__init__()
        check_partial_channels(channels, k)
        self.cell = cell
        self.execution = execution or CellExecution()
        self.edges = nn.ModuleList(
            mixed_edge(cell.primitives, channels, 1, norm, k) for _ in cell.edges
        )

    def forward(
        self, x: Tensor, ops: Tensor, edges: Tensor, active: Active | None = None
    ) -> Tensor:
        """Return (B, C, H, W) for x (B, C, H, W) under weights ops (E, O) and edges (E,)."""
        return self.execution.output(self.cell, [x], self.edges, ops, edges, active)


class PlainSupernet(Supernet):
    """The supernet of a space with one cell kind: a skeleton of mixed cells.

    Args:
        space: Space with one cell kind.
        skeleton: Skeleton with a `PlainSearchCell`, or a wrapped one, at each place.
        execution: Computation of the cells; fast by default.
    """

    def __init__(
        self, space: SearchSpace, skeleton: Skeleton, execution: CellExecution | None = None
    ) -> None:
        super().__init__()
        (self.kind,) = space.kinds
        self.skeleton = skeleton
        self.execution = execution or CellExecution()
        self.execution.stem(skeleton.stem)

    @property
    def cell_counts(self) -> Mapping[str, int]:
        """Number of cells of the only kind."""
        return {self.kind: self.skeleton.cells}

    def forward(self, x: Tensor, mixing: Mixing) -> Tensor:
        """Return the head's output, logits (B, num_classes), for images (B, in_channels, H, W)."""
        weights = [mixing.of(self.kind, index) for index in range(self.skeleton.cells)]
        logits: Tensor = self.skeleton(self.execution.images(x), *weights)
        return logits


@final
class NasBench201Supernet(SupernetFactory):
    """Factory of the supernet of the NAS-Bench-201 space (Dong and Yang, ICLR 2020).

    Args:
        channels: Channels C of the first stage; GAEA's search uses 24 instead of 16.
        cells: Number N of cells in each of the three stages.
        primitives: Candidate operations on every edge; GAEA's search leaves `none` out.
        affine: Batch norm in candidate operations learns scale and shift.
        running_stats: Batch norm keeps running statistics. If False, every pass uses the
            statistics of its own batch, as the benchmark's authors recommend.

    Raises:
        UsageError: A stage has no cell, an operation is unknown or repeated, or there are fewer
            than two.
    """

    replayable = True

    def __init__(
        self,
        channels: int = 16,
        cells: int = 5,
        primitives: Sequence[str] = NAS_BENCH_201_PRIMITIVES,
        affine: bool = False,
        running_stats: bool = False,
    ) -> None:
        self.channels = channels
        self.cells = cells
        check(self, channels=MIXED_WIDTH, cells=DEPTH)
        self.affine = affine
        self.running_stats = running_stats
        self._space = NasBench201Space(primitives)
        self.primitives = self._space.primitives

    @property
    def space(self) -> SearchSpace:
        """The NAS-Bench-201 space with these primitives."""
        return self._space

    def build(
        self,
        data_spec: Mapping[str, Any],
        k: int,
        auxiliary: bool = False,
        execution: CellExecution | None = None,
    ) -> PlainSupernet:
        """Build the supernet for images; needs `in_channels` and `num_classes`.

        Raises:
            UsageError: K does not fit the channels, an auxiliary head is requested, or the images
                cannot be halved twice.
        """
        if auxiliary:
            raise UsageError(
                "NAS-Bench-201 networks have no auxiliary head: set auxiliary_weight to 0"
            )
        check_image(data_spec)
        norm = NormRule(self.affine, after_pool=False, running_stats=self.running_stats)
        (cell,) = self.space.cells
        skeleton = Skeleton(
            data_spec["in_channels"],
            self.channels,
            self.cells,
            self.running_stats,
            lambda channels: PlainSearchCell(cell, channels, k, norm, execution),
            functools.partial(ClassificationHead, out_features=data_spec["num_classes"]),
        )
        return PlainSupernet(self.space, skeleton, execution)
