"""The reference cell: edge by edge, as the papers write it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.errors import UsageError
from nas_lightning.spaces import Cell
from nas_lightning.spaces.drop_path import with_drop_path
from nas_lightning.spaces.primitives import (
    PRIMITIVES,
    FactorizedReduce,
    NormRule,
    relu_conv_norm,
)
from nas_lightning.supernet.mixing import Active


class MixedEdge(nn.Module):
    """All candidate operations of an edge, mixed: sum over m of w_m · o_m(x) (DARTS, equation 2).

    Args:
        primitives: Names of the operations.
        channels: Channels C in and out.
        stride: 1, or 2 on edges that halve the image.
        norm: Batch norm rule.
    """

    def __init__(
        self, primitives: tuple[str, ...], channels: int, stride: int, norm: NormRule
    ) -> None:
        super().__init__()
        self.ops = nn.ModuleList(
            with_drop_path(name, PRIMITIVES[name](channels, stride, norm), stride)
            for name in primitives
        )

    def forward(self, x: Tensor, weights: Tensor, active: tuple[int, ...] | None = None) -> Tensor:
        """(B, C, H/stride, W/stride) for x (B, C, H, W) and weights (O,).

        Args:
            x: What the edge reads.
            weights: Of the operations.
            active: The operations that run, at least one; none for all.
        """
        # unbind, not iteration by index: one node in the graph instead of one an operation
        pairs = list(zip(weights.unbind(), self.ops, strict=True))
        chosen = pairs if active is None else [pairs[m] for m in active]
        out: Tensor = functools.reduce(operator.add, (w * op(x) for w, op in chosen))
        return out


class PartialChannelEdge(nn.Module):
    """Mix a 1/K share of the channels and let the rest pass (PC-DARTS, equation 3).

    The first C/K channels go through the operations, the others bypass them (max pooled on
    stride-2 edges); a channel shuffle with K groups hands each successor other channels.

    Args:
        primitives: Names of the operations.
        channels: Channels C, divisible by K.
        stride: 1, or 2 on edges that halve the image.
        norm: Batch norm rule.
        k: K.
    """

    def __init__(
        self, primitives: tuple[str, ...], channels: int, stride: int, norm: NormRule, k: int
    ) -> None:
        super().__init__()
        self.k, self.stride = k, stride
        self.mixed = MixedEdge(primitives, channels // k, stride, norm)

    def forward(self, x: Tensor, weights: Tensor, active: tuple[int, ...] | None = None) -> Tensor:
        """(B, C, H/stride, W/stride), see `MixedEdge`."""
        share = x.shape[1] // self.k
        bypass = x[:, share:]
        if self.stride == 2:
            bypass = F.max_pool2d(bypass, 2, 2)
        out = torch.cat((self.mixed(x[:, :share], weights, active), bypass), dim=1)
        # as (groups, members): member m of every group stands together afterwards
        batch, channels, height, width = out.shape
        groups = out.view(batch, self.k, share, height, width)
        return groups.transpose(1, 2).reshape(batch, channels, height, width)


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
    ) -> None:
        super().__init__()
        check_partial_channels(channels, k)
        self.cell = cell
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
        states = [pre(s) for pre, s in zip(self.preprocess, (s0, s1), strict=True)]
        states = node_states(self.cell, states, self.edges, ops, edges, active)
        return torch.cat(states[self.cell.inputs :], dim=1)


def mixed_edge(
    primitives: tuple[str, ...], channels: int, stride: int, norm: NormRule, k: int
) -> nn.Module:
    """An edge that mixes 1/k of the channels."""
    if k == 1:
        return MixedEdge(primitives, channels, stride, norm)
    return PartialChannelEdge(primitives, channels, stride, norm, k)


def check_partial_channels(channels: int, k: int) -> None:
    """Check that K fits.

    Raises:
        UsageError: K does not divide the channels, or leaves fewer than two to mix.
    """
    if channels % k or channels // k < 2:
        raise UsageError(
            f"partial channels: K = {k} must divide the {channels} channels of a cell and "
            f"leave at least 2 of them to mix"
        )


def node_states(
    cell: Cell,
    inputs: Sequence[Tensor],
    edges: nn.ModuleList,
    op_weights: Tensor,
    edge_weights: Tensor,
    active: Active | None = None,
) -> list[Tensor]:
    """The cell's inputs and the states of its nodes, each the weighted sum of its edges.

    Args:
        cell: The cell.
        inputs: Its input states, all of one size.
        edges: A mixed edge for each edge of the cell.
        op_weights: (E, O).
        edge_weights: (E,).
        active: The operations that run on each edge; none for all. Every node keeps an edge.
    """
    states = list(inputs)
    rows, scales = op_weights.unbind(), edge_weights.unbind()
    for node in cell.nodes:
        terms = (
            scales[i] * edges[i](states[cell.edges[i].source], rows[i], active and active[i])
            for i in cell.incoming(node)
            if active is None or active[i]
        )
        states.append(functools.reduce(operator.add, terms))
    return states
