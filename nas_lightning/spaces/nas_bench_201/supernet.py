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
from nas_lightning.spaces.nas_bench_201.skeleton import Skeleton
from nas_lightning.spaces.nas_bench_201.space import NAS_BENCH_201_PRIMITIVES, NasBench201Space
from nas_lightning.supernet.base import Supernet, SupernetFactory
from nas_lightning.supernet.execution import CellExecution
from nas_lightning.supernet.mixing import Active, Mixing
from nas_lightning.supernet.reference import check_partial_channels, mixed_edge


class PlainSearchCell(CellModule):
    """A cell of one input whose output is its last node.

    Args:
        cell: Its edges and primitives.
        channels: Channels C of every state.
        k: K of partial channels; 1 mixes all channels.
        norm: Batch norm rule.
        execution: How it is computed; fast by default.
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
        """(B, C, H, W) for x (B, C, H, W) and weights of operations (E, O) and edges (E,)."""
        return self.execution.output(self.cell, [x], self.edges, ops, edges, active)


class PlainSupernet(Supernet):
    """A skeleton of mixed cells.

    Args:
        space: A space of one cell kind.
        skeleton: Its cells are `PlainSearchCell`.
        execution: How they are computed; fast by default.
    """

    def __init__(
        self, space: SearchSpace, skeleton: Skeleton, execution: CellExecution | None = None
    ) -> None:
        super().__init__()
        (self.kind,) = space.kinds
        self.skeleton = skeleton
        self.execution = execution or CellExecution()
        self.execution.stem(skeleton.stem)

    def forward(self, x: Tensor, mixing: Mixing) -> Tensor:
        """Logits (B, num_classes) for images x (B, in_channels, H, W)."""
        kind = self.kind
        logits: Tensor = self.skeleton(
            self.execution.images(x),
            mixing.ops[kind],
            mixing.edges[kind],
            mixing.active.get(kind),
        )
        return logits


@final
class NasBench201Supernet(SupernetFactory):
    """The supernet of the NAS-Bench-201 space (Dong and Yang, ICLR 2020).

    Args:
        channels: Channels C of the first stage; GAEA's search has 24 in place of 16.
        cells: Cells of each of the three stages, N.
        primitives: Candidate operations on every edge; GAEA's search leaves `none` out.
        affine: Batch norm in candidate operations learns scale and shift.
        running_stats: Batch norm keeps running statistics; off, every pass uses the statistics
            of its own batch, which the benchmark's authors recommend.

    Raises:
        UsageError: Unknown or repeated primitives, or fewer than two.
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
        if cells < 1:
            raise UsageError(f"a stage needs at least one cell, found cells = {cells}")
        self.channels = channels
        self.cells = cells
        self.affine = affine
        self.running_stats = running_stats
        self._space = NasBench201Space(primitives)
        self.primitives = self._space.primitives

    @property
    def space(self) -> SearchSpace:
        """The space with these primitives."""
        return self._space

    def build(
        self,
        data_spec: Mapping[str, Any],
        k: int,
        auxiliary: bool = False,
        execution: CellExecution | None = None,
    ) -> PlainSupernet:
        """Build it for images; needs `in_channels` and `num_classes`.

        Raises:
            UsageError: K does not fit, or an auxiliary head is asked for.
        """
        if auxiliary:
            raise UsageError("NAS-Bench-201 networks have no auxiliary head: set its weight to 0")
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
