"""The cell of the supernet of the DARTS space."""

from __future__ import annotations

from torch import Tensor, nn

from nas_lightning.architecture import Cell
from nas_lightning.layers.primitives import FactorizedReduce, NormRule, relu_conv_norm
from nas_lightning.layers.stack import CellModule
from nas_lightning.supernet.execution import CellExecution
from nas_lightning.supernet.mixing import Active
from nas_lightning.supernet.reference import check_partial_channels, mixed_edge


class SearchCell(CellModule):
    """A mixed cell of the supernet.

    Args:
        cell: Edges and primitives of the cell.
        channels_before: Channels of the outputs of the two previous cells.
        channels: Channels C of every state inside.
        reduction: Halve the image: edges from the cell's inputs have stride 2.
        reduction_before: The previous cell halves the image, so the first input is halved too.
        k: K of partial channels; 1 mixes all channels.
        norm: Batch norm rule.
        execution: Computation of the cell; fast by default.

    Attributes:
        preprocess: Preprocessing of each input. `CellExecution.inputs` computes it together for
            cells that read the same output.
        out_channels: Channels of the output.

    Raises:
        UsageError: K does not divide the channels, or leaves fewer than two to mix.
    """

    def __init__(
        self,
        cell: Cell,
        channels_before: tuple[int, int],
        channels: int,
        reduction: bool,
        reduction_before: bool,
        k: int,
        norm: NormRule,
        execution: CellExecution | None = None,
    ) -> None:
        super().__init__()
        check_partial_channels(channels, k)
        self.cell = cell
        self.out_channels = len(cell.concat) * channels
        self.execution = execution or CellExecution()
        first = FactorizedReduce if reduction_before else relu_conv_norm
        self.preprocess = nn.ModuleList(
            (
                first(channels_before[0], channels, norm),
                relu_conv_norm(channels_before[1], channels, norm),
            )
        )
        self.edges = nn.ModuleList()
        for edge in cell.edges:
            stride = 2 if reduction and edge.source < cell.inputs else 1
            self.edges.append(mixed_edge(cell.primitives, channels, stride, norm, k))

    def forward(
        self, x0: Tensor, x1: Tensor, ops: Tensor, edges: Tensor, active: Active | None = None
    ) -> Tensor:
        """Return the concatenated nodes (B, N·C, H, W); a reduction cell halves H and W.

        Args:
            x0: Output of the cell before the last, preprocessed (B, C, H, W).
            x1: Output of the last cell, preprocessed (B, C, H, W).
            ops: Weights of the operations (E, O).
            edges: Weights of the edges (E,).
            active: Operations that run on each edge; `None` means all.
        """
        return self.execution.output(self.cell, [x0, x1], self.edges, ops, edges, active)
