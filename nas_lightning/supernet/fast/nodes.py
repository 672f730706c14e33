"""The nodes of a cell, from its inputs and from what operations give."""

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
    """Nodes of a cell that mixes all channels: what operations give is the node."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self._nodes: list[Tensor] = []

    def add(self, given: Tensor) -> Tensor:
        """What operations read of the next node, see `PartialNodes.add`."""
        self._nodes.append(given)
        return given

    def output(self) -> Tensor:
        """The nodes that make the output side by side."""
        return torch.cat([self._nodes[n - self.cell.inputs] for n in self.cell.concat], dim=1)


class PartialNodes:
    """Nodes of a cell of partial channels (PC-DARTS, equation 3).

    Channels that bypass the operations, skip connections and channel shuffles are linear and alike
    at every pixel. So a node is the product of a matrix with the inputs of the cell and with what
    operations gave to the nodes so far, and no channel is moved from node to node.

    Args:
        cell: The cell.
        k: K.
        inputs: Its inputs (B, C, H, W), in one part or several.
        stride: 2 if the cell halves its inputs, else 1.
        incoming: By node, the edges on which anything runs.
        edges: Weights of the edges (E,).
        skips: Weights of skip connections of stride 1, 0 on edges without (E,).
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
        self.size = sum(part.shape[1] for part in inputs) // (k * cell.inputs)
        passing = channels_last(torch.cat(list(inputs), dim=1))
        passing = F.max_pool2d(passing, 2, 2) if stride == 2 else passing
        self._given = [passing]
        self._matrices = _node_matrices(cell, self.size, k, incoming, edges, skips)
        # operations read a share of all nodes but the last
        self._last = len(cell.nodes) - 1
        read = self._matrices[:, : self._last, : self.size].flatten(1)
        first, *self._rows = torch.split(read, [passing.shape[1]] + [self.size] * len(cell.nodes))
        # what is known of the shares of the nodes to come
        self._ahead = mix(passing, first) if self._last else passing

    def add(self, given: Tensor) -> Tensor:
        """What operations read of the next node (B, C/K, H, W); of the last one, anything.

        Args:
            given: What operations gave to it, of that shape.
        """
        j = len(self._given) - 1
        self._given.append(given)
        if j == self._last:
            return given
        known = mix(given, self._rows[j][:, j * self.size :], self._ahead)
        share, self._ahead = torch.split(known, [self.size, known.shape[1] - self.size], dim=1)
        return channels_last(share)

    def output(self) -> Tensor:
        """The nodes that make the output side by side: all of them, or the last."""
        to = self._matrices[:, self.cell.concat[0] - self.cell.inputs :]
        return mix(torch.cat(self._given, dim=1), to.flatten(1))


def _node_matrices(
    cell: Cell,
    size: int,
    k: int,
    incoming: Mapping[int, Sequence[int]],
    edges: Tensor,
    skips: Tensor,
) -> Tensor:
    """The matrix to each of N nodes, side by side (I · C + N · C/K, N, C).

    Rows are the channels of the I inputs and then, node by node, what operations gave to it.
    """
    order = tuple(itertools.chain.from_iterable(incoming.values()))
    if len(order) < len(edges):
        place = index(order, edges.device)
        edges, skips = edges.index_select(0, place), skips.index_select(0, place)
    with torch.autocast(edges.device.type, enabled=False):
        fixed = _fixed(cell.inputs, len(cell.nodes), size, k, edges.dtype, edges.device)
        # from the channels of a source to those of a target, by edge
        steps = skips[:, None, None] * fixed.skip
        steps = torch.addcmul(steps, edges[:, None, None], fixed.bypass)
        matrices = list(fixed.inputs)
        parts = torch.split(steps, [len(incoming[node]) for node in cell.nodes])
        for node, own, part in zip(cell.nodes, fixed.own, parts, strict=True):
            sources = [matrices[cell.edges[i].source] for i in incoming[node]]
            matrices.append(torch.addmm(own, torch.cat(sources, dim=1), part.flatten(0, 1)))
    return torch.stack(matrices[cell.inputs :], dim=1)


class _Fixed(NamedTuple):
    """Matrices of zeros and ones.

    Attributes:
        inputs: To each input, from the rows of `_node_matrices`.
        own: To each node, from what operations gave to it.
        skip: From a source to a target by a skip connection (C, C).
        bypass: The same past the operations.
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
    # a channel shuffle: as (groups, members), member m of every group stands together afterwards
    shuffle = identity(channels, dtype, device)
    shuffle = torch.unflatten(shuffle, 1, (k, size)).transpose(1, 2).flatten(1)
    skip, bypass = shuffle.clone(), shuffle.clone()
    skip[size:] = 0
    bypass[:size] = 0
    rows = identity(inputs * channels + nodes * size, dtype, device)
    before, later = torch.split(rows, [inputs * channels, nodes * size], dim=1)
    own = [part @ shuffle[:size] for part in torch.split(later, size, dim=1)]
    return _Fixed(torch.split(before, channels, dim=1), own, skip, bypass)
