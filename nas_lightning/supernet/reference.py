"""The reference cell, computed edge by edge as in the papers. The fast cell must equal it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.architecture import Cell
from nas_lightning.errors import UsageError
from nas_lightning.layers.drop_path import with_drop_path
from nas_lightning.layers.own import build_primitive
from nas_lightning.layers.primitives import NormRule
from nas_lightning.supernet.mixing import Active


class MixedEdge(nn.Module):
    """Mix all operations of an edge: sum over m of w_m · o_m(x) (DARTS, equation 2).

    Args:
        primitives: Names of the operations.
        channels: Channels C in and out.
        stride: 1, or 2 on edges that halve the image.
        norm: Batch norm rule.

    Attributes:
        primitives, channels, stride, norm: The arguments.
        ops: The operations, of which strategies may add more after those of `primitives`.
    """

    k = 1
    """K of partial channels: all channels are mixed."""

    def __init__(
        self, primitives: tuple[str, ...], channels: int, stride: int, norm: NormRule
    ) -> None:
        super().__init__()
        self.primitives, self.channels = primitives, channels
        self.stride, self.norm = stride, norm
        self.ops = nn.ModuleList(
            with_drop_path(name, build_primitive(name, channels, stride, norm), stride)
            for name in primitives
        )

    @property
    def mixed(self) -> MixedEdge:
        """The edge itself; a `PartialChannelEdge` contains one under this name."""
        return self

    def forward(self, x: Tensor, weights: Tensor, active: tuple[int, ...] | None = None) -> Tensor:
        """Return (B, C, H/stride, W/stride) for x (B, C, H, W).

        Args:
            x: Input of the edge.
            weights: Weights of the operations (O,).
            active: Indices of the operations that run, at least one; `None` means all.
        """
        # unbind adds one node to the graph, indexing one per operation
        pairs = list(zip(weights.unbind(), self.ops, strict=True))
        chosen = pairs if active is None else [pairs[m] for m in active]
        out: Tensor = functools.reduce(operator.add, (w * op(x) for w, op in chosen))
        return out


class PartialChannelEdge(nn.Module):
    """Mix 1/K of the channels and pass the others on (PC-DARTS, equation 3).

    The operations read the first C/K channels. The others bypass them, max pooled on edges of
    stride 2. A channel shuffle with K groups then gives the next edges other channels to mix.

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
        """Return (B, C, H/stride, W/stride), see `MixedEdge`."""
        share = x.shape[1] // self.k
        bypass = x[:, share:]
        if self.stride == 2:
            bypass = F.max_pool2d(bypass, 2, 2)
        out = torch.cat((self.mixed(x[:, :share], weights, active), bypass), dim=1)
        # view as (groups, members), then put member m of all groups side by side
        batch, channels, height, width = out.shape
        groups = out.view(batch, self.k, share, height, width)
        return groups.transpose(1, 2).reshape(batch, channels, height, width)


def mixed_edge(
    primitives: tuple[str, ...], channels: int, stride: int, norm: NormRule, k: int
) -> nn.Module:
    """Return an edge that mixes 1/k of the channels."""
    if k == 1:
        return MixedEdge(primitives, channels, stride, norm)
    return PartialChannelEdge(primitives, channels, stride, norm, k)


def check_partial_channels(channels: int, k: int) -> None:
    """Check that K fits the channels of a cell.

    Raises:
        UsageError: There is one channel, or K does not divide the channels or leaves fewer than two
            to mix.
    """
    if channels < 2:
        raise UsageError(
            f"a cell that mixes operations needs at least 2 channels, found {channels}: raise "
            f"channels of the supernet"
        )
    if channels % k or channels // k < 2:
        raise UsageError(
            f"partial channels: K = {k} must divide the {channels} channels of a cell and "
            f"leave at least 2 of them to mix"
        )


def reference_preprocess(x: Tensor, ops: Sequence[nn.Module]) -> list[Tensor]:
    """Return a state as preprocessed by each of several cells that read it.

    Args:
        x: The state (B, C, H, W).
        ops: Preprocessing of each cell: ReLU, convolution and batch norm.
    """
    return [op(x) for op in ops]


def reference_cell(
    cell: Cell,
    inputs: Sequence[Tensor],
    edges: nn.ModuleList,
    op_weights: Tensor,
    edge_weights: Tensor,
    active: Active | None = None,
) -> Tensor:
    """Return the nodes of `Cell.concat`, concatenated (B, N·C, H, W); a node sums its edges.

    Args:
        cell: The cell.
        inputs: Input states, all of one size.
        edges: A mixed edge for each edge of the cell.
        op_weights: Weights of the operations (E, O).
        edge_weights: Weights of the edges (E,).
        active: Operations that run on each edge; `None` means all. Every node must keep an edge.
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
    return torch.cat([states[node] for node in cell.concat], dim=1)
