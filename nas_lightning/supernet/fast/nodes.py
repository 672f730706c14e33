"""The nodes of a cell, from its inputs and from the outputs of operations."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.architecture import Cell
from nas_lightning.supernet.fast.constants import identity, index, made_once
from nas_lightning.supernet.fast.products import channels_last, mix


class WholeNodes:
    """Nodes of a cell that mixes all channels: a node is the sum of its operations' outputs."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self._nodes: list[Tensor] = []

    def add(self, total: Tensor) -> Tensor:
        """Add the next node and return what operations read of it, see `PartialNodes.add`."""
        self._nodes.append(total)
        return total

    def output(self) -> Tensor:
        """Return the output of the cell: the nodes of `Cell.concat`, concatenated."""
        return torch.cat([self._nodes[n - self.cell.inputs] for n in self.cell.concat], dim=1)


class PartialNodes:
    """Nodes of a cell of partial channels (PC-DARTS, equation 3).

    Bypassed channels, skip connections and channel shuffles are linear, and the same at every
    pixel. A node is therefore a matrix times the inputs of the cell and the sums of operations at
    the nodes so far, and no channel is moved from node to node.

    Args:
        cell: The cell.
        k: K.
        inputs: Inputs of the cell (B, C, H, W), whole or split along the channels.
        stride: 2 if the cell halves its inputs, else 1.
        incoming: For each node, the edges on which an operation runs.
        edges: Weights of the edges (E,).
        skips: Weights of skip connections of stride 1 (E,); 0 on edges without one.
    """

    def __init__(
        self,
        cell: Cell,
        k: int,
        inputs: Sequence[Tensor],
        stride: int,
        incoming: Mapping[int, Sequence[int]],
        edges: Tensor,
        skips: Tensor,
    ) -> None:
        self.cell = cell
        self.size = sum(x.shape[1] for x in inputs) // (k * cell.inputs)
        passing = channels_last(torch.cat(list(inputs), dim=1))
        passing = F.max_pool2d(passing, 2, 2) if stride == 2 else passing
        self._terms = [passing]
        self._matrices = _node_matrices(cell, self.size, k, incoming, edges, skips)
        # operations read 1/K of the channels of every node but the last
        self._last = len(cell.nodes) - 1
        read = self._matrices[:, : self._last, : self.size].flatten(1)
        first, *self._rows = torch.split(read, [passing.shape[1]] + [self.size] * len(cell.nodes))
        # the known terms of what operations will read of the following nodes
        self._ahead = mix(passing, first) if self._last else passing

    def add(self, total: Tensor) -> Tensor:
        """Add the next node and return what operations read of it.

        Args:
            total: The sum of the operations' outputs at the node (B, C/K, H, W).

        Returns:
            The first C/K channels of the node. Nothing reads the last node, so for it this is
            `total`.
        """
        j = len(self._terms) - 1
        self._terms.append(total)
        if j == self._last:
            return total
        known = mix(total, self._rows[j][:, j * self.size :], self._ahead)
        share, self._ahead = torch.split(known, [self.size, known.shape[1] - self.size], dim=1)
        return channels_last(share)

    def output(self) -> Tensor:
        """Return the output of the cell: all nodes concatenated, or the last node."""
        to = self._matrices[:, self.cell.concat[0] - self.cell.inputs :]
        return mix(torch.cat(self._terms, dim=1), to.flatten(1))


def _node_matrices(
    cell: Cell,
    size: int,
    k: int,
    incoming: Mapping[int, Sequence[int]],
    edges: Tensor,
    skips: Tensor,
) -> Tensor:
    """Return the matrices of the N nodes, side by side (I · C + N · C/K, N, C).

    The rows are the channels of the I inputs, then those of the operations' sum at each node.
    """
    order = tuple(itertools.chain.from_iterable(incoming.values()))
    if len(order) < len(edges):
        place = index(order, edges.device)
        edges, skips = edges.index_select(0, place), skips.index_select(0, place)
    with torch.autocast(edges.device.type, enabled=False):
        fixed = _fixed(cell.inputs, len(cell.nodes), size, k, edges.dtype, edges.device)
        # for each edge, from the channels of its source to those of its target
        steps = skips[:, None, None] * fixed.skip
        steps = torch.addcmul(steps, edges[:, None, None], fixed.bypass)
        matrices = list(fixed.inputs)
        pieces = torch.split(steps, [len(incoming[node]) for node in cell.nodes])
        for node, own, step in zip(cell.nodes, fixed.own, pieces, strict=True):
            sources = [matrices[cell.edges[i].source] for i in incoming[node]]
            matrices.append(torch.addmm(own, torch.cat(sources, dim=1), step.flatten(0, 1)))
    return torch.stack(matrices[cell.inputs :], dim=1)


class _Fixed(NamedTuple):
    """Matrices of zeros and ones.

    Attributes:
        inputs: From the rows of `_node_matrices` to each input.
        own: From the rows of `_node_matrices` to the operations' sum at each node, shuffled.
        skip: From a source to a target through a skip connection (C, C).
        bypass: From a source to a target past the operations (C, C).
    """

    inputs: Sequence[Tensor]
    own: Sequence[Tensor]
    skip: Tensor
    bypass: Tensor


@made_once
def _fixed(
    inputs: int, nodes: int, size: int, k: int, dtype: torch.dtype, device: torch.device
) -> _Fixed:
    channels = size * k
    # channel shuffle: with channels as (groups, members), the mth members of all groups become
    # neighbours
    shuffle = identity(channels, dtype, device)
    shuffle = torch.unflatten(shuffle, 1, (k, size)).transpose(1, 2).flatten(1)
    skip, bypass = shuffle.clone(), shuffle.clone()
    skip[size:] = 0
    bypass[:size] = 0
    rows = identity(inputs * channels + nodes * size, dtype, device)
    before, later = torch.split(rows, [inputs * channels, nodes * size], dim=1)
    own = [columns @ shuffle[:size] for columns in torch.split(later, size, dim=1)]
    return _Fixed(torch.split(before, channels, dim=1), own, skip, bypass)
