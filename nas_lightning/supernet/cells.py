"""The cell of the supernet of the DARTS space."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_lightning.spaces import Cell
from nas_lightning.spaces.primitives import FactorizedReduce, NormRule, relu_conv_norm
from nas_lightning.supernet.execution import CellExecution
from nas_lightning.supernet.mixing import Active
from nas_lightning.supernet.reference import check_partial_channels, mixed_edge


class SearchCell(nn.Module):
    """A cell of the supernet.

    Args:
        cell: Its edges and primitives.
        channels_before: Channels of the outputs of the two cells before it.
        channels: Channels C of every state inside.
        reduction: Halve the image: edges from the cell's inputs have stride 2.
        reduction_before: The cell before halved the image, so the first input must follow.
        k: K of partial channels; 1 mixes all channels.
        norm: Batch norm rule.
        execution: How it is computed; fast by default.

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
        self, s0: Tensor, s1: Tensor, ops: Tensor, edges: Tensor, active: Active | None = None
    ) -> Tensor:
        """Concatenation of the nodes, (B, N·C, H, W), halved in a reduction cell.

        Args:
            s0: Output of the cell before the last (B, C0, H0, W0).
            s1: Output of the last cell (B, C1, H, W).
            ops: Weights of the operations (E, O).
            edges: Weights of the edges (E,).
            active: The operations that run on each edge; none for all.
        """
        return self.execution.run(self, self._compute, s0, s1, ops, edges, active)

    def _compute(
        self, s0: Tensor, s1: Tensor, ops: Tensor, edges: Tensor, active: Active | None
    ) -> Tensor:
        inputs = [pre(s) for pre, s in zip(self.preprocess, (s0, s1), strict=True)]
        states = self.execution.node_states(self.cell, inputs, self.edges, ops, edges, active)
        return torch.cat(states[self.cell.inputs :], dim=1)
