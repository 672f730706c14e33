"""An operation on several edges, run as one over the channels of all edges."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.layers.drop_path import DropPath
from nas_lightning.layers.half import DepthwiseConv2d
from nas_lightning.layers.primitives import FactorizedReduce
from nas_lightning.supernet.fast.cpu import thresholds
from nas_lightning.supernet.fast.cpu.dilated import convolve
from nas_lightning.supernet.fast.cpu.grouped import by_groups, pointwise
from nas_lightning.supernet.fast.cpu.tiny import product, tiny
from nas_lightning.supernet.fast.kernels import Gathered, Kernels
from nas_lightning.supernet.fast.products import block_diagonal, mix

Run = Callable[[Tensor, Gathered], Tensor]
"""State and kernels → state."""


class Segment(NamedTuple):
    """The layers of an operation up to and including a batch norm, on all of its edges.

    Attributes:
        rectify: The segment begins with a ReLU.
        runs: The convolutions and pools before the batch norm.
        norms: The batch norm of each edge; empty for a last segment without one.
    """

    rectify: bool
    runs: Sequence[Run]
    norms: Sequence[nn.Module]


def layers(op: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers of an operation in order, without drop path."""
    if isinstance(op, nn.Sequential):
        for child in op:
            yield from layers(child)
    elif isinstance(op, FactorizedReduce):
        yield from (nn.ReLU(), op, op.norm)
    elif not isinstance(op, DropPath):
        yield op


def batchable(op: nn.Module) -> bool:
    """Return True if `segments` knows all layers of an operation."""
    return all(type(layer) in _KNOWN for layer in layers(op))


_KNOWN = {
    *(nn.ReLU, nn.Conv2d, DepthwiseConv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d),
    FactorizedReduce,
}


def segments(
    ops: Sequence[nn.Module], kernels: Kernels, states: int = 1, dense: bool = False
) -> list[Segment]:
    """Return the segments of an operation on n edges.

    Args:
        ops: The operation of each edge. An operation that is not `batchable` runs edge by edge.
        kernels: Gathers the kernels.
        states: Number of states that the edges leave. The edges are sorted by state, and every
            state has equally many.
        dense: Run depthwise and pointwise convolutions as one dense convolution even where each
            edge reads its own channels.
    """
    if not batchable(ops[0]):
        return [Segment(False, [functools.partial(_one_by_one, ops, states)], ())]
    columns = list(zip(*(layers(op) for op in ops), strict=True))
    return _Reader(columns, kernels, states, dense).segments()


def _one_by_one(ops: Sequence[nn.Module], states: int, x: Tensor, _: Gathered) -> Tensor:
    inputs = _spread(states, len(ops) // states, x).chunk(len(ops), dim=1)
    return torch.cat([op(share) for op, share in zip(ops, inputs, strict=True)], dim=1)


class _Reader:
    """Turns layers into segments.

    Args:
        columns: For each layer, its modules on all edges.
        kernels: Gathers the kernels.
        states: Number of states that the edges leave.
        dense: See `segments`.
    """

    def __init__(
        self, columns: list[tuple[nn.Module, ...]], kernels: Kernels, states: int, dense: bool
    ) -> None:
        self.columns, self.kernels, self.states, self.dense = columns, kernels, states, dense
        self.edges = len(columns[0])
        # the edges of a state share its channels until a layer makes channels for each edge
        self.shared = True

    def segments(self) -> list[Segment]:
        """Return all segments."""
        found = []
        while self.columns:
            rectify = isinstance(self.columns[0][0], nn.ReLU)
            if rectify:
                self.columns.pop(0)
            runs: list[Run] = []
            while self.columns and not isinstance(self.columns[0][0], nn.BatchNorm2d):
                runs += self._runs(self.columns.pop(0))
            norms = self.columns.pop(0) if self.columns else ()
            found.append(Segment(rectify, [*runs, *self._share_out()], norms))
        return found

    def _runs(self, column: Sequence[Any]) -> list[Run]:
        if isinstance(column[0], nn.Conv2d):
            return self._convolve(column)
        if isinstance(column[0], FactorizedReduce):
            self.shared = False
            first = self.kernels.request([op.conv0 for op in column])
            shifted = self.kernels.request([op.conv1 for op in column])
            return [functools.partial(_reduce, first, shifted, self.edges, self.states)]
        return [lambda x, _: column[0](x)]

    def _convolve(self, column: Sequence[Any]) -> list[Run]:
        """Read a convolution, with the pointwise one that follows it where that is faster."""
        depthwise, channels = column[0].groups > 1, column[0].in_channels
        wide = column[0].kernel_size > (3, 3) and column[0].dilation == (1, 1)
        most = thresholds.WIDE_DENSE if wide else thresholds.DENSE
        dense = not depthwise or (channels <= most and (self.shared or self.dense))
        pointwise = self.columns.pop(0) if depthwise and dense else ()
        if dense:
            groups, times = self.states if self.shared else self.edges, 1
        else:  # every edge needs a copy of the channels
            groups, times = self.edges * channels, self.edges // self.states if self.shared else 1
        self.shared = False
        spread = functools.partial(_spread, self.states, times)
        place = self.kernels.request(column, pointwise)
        if _pointwise(column[0]) and times == 1:
            few = groups == 1 or groups * channels <= thresholds.PRODUCT
            return [functools.partial(_multiplied if few else _grouped, place, groups)]
        return [functools.partial(_convolved, place, column, groups, spread)]

    def _share_out(self) -> list[Run]:
        """Copy the channels of a state for each of its edges, if they still share them."""
        shared, self.shared = self.shared, False
        spread = functools.partial(_spread, self.states, self.edges // self.states)
        return [lambda x, _: spread(x)] if shared else []


def _pointwise(conv: Any) -> bool:
    return conv.weight.shape[2:] == (1, 1) and conv.stride == (1, 1) and conv.bias is None


def _multiplied(place: int, groups: int, x: Tensor, gathered: Gathered) -> Tensor:
    kernel = gathered.kernels[place]
    if groups > 1 and x.device.type != "cpu":  # one operation is faster there
        return F.conv2d(x, kernel, groups=groups)
    return mix(x, block_diagonal(kernel, groups))


def _grouped(place: int, groups: int, x: Tensor, gathered: Gathered) -> Tensor:
    kernel = gathered.kernels[place]
    if gathered.learned and by_groups(x, kernel):
        return pointwise(x, kernel, groups)
    return F.conv2d(x, kernel, groups=groups)


def _convolved(
    place: int,
    convs: Sequence[Any],
    groups: int,
    spread: Callable[[Tensor], Tensor],
    x: Tensor,
    gathered: Gathered,
) -> Tensor:
    bias = None if convs[0].bias is None else torch.cat([conv.bias for conv in convs])
    if groups == 1 and bias is None and tiny(x):
        return product(convs[0], x, gathered.kernels[place])
    return convolve(convs[0], x, gathered.kernels[place], bias, groups, spread, gathered.learned)


def _reduce(
    first: int, shifted: int, edges: int, states: int, x: Tensor, gathered: Gathered
) -> Tensor:
    kernel = reducing_kernel(
        *(torch.unflatten(gathered.kernels[place], 0, (edges, -1)) for place in (first, shifted))
    )
    return F.conv2d(x, kernel.flatten(0, 1), stride=2, groups=states)


def reducing_kernel(first: Tensor, second: Tensor) -> Tensor:
    """Merge two strided 1x1 kernels, the second shifted by a pixel, into one 2x2 kernel.

    Args:
        first: (..., outputs, inputs, 1, 1).
        second: (..., outputs, inputs, 1, 1).

    Returns:
        (..., 2 · outputs, inputs, 2, 2).
    """
    return torch.cat((F.pad(first, (0, 1, 0, 1)), F.pad(second, (1, 0, 1, 0))), dim=-4)


def _spread(states: int, times: int, x: Tensor) -> Tensor:
    """Repeat the channels of each state `times` times, side by side."""
    if times == 1:
        return x
    shares = x.chunk(states, dim=1)
    return torch.cat([share for share in shares for _ in range(times)], dim=1)
