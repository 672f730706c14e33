"""An operation on several edges as one: convolutions over the channels of all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.layers.drop_path import DropPath
from nas_lightning.layers.primitives import FactorizedReduce
from nas_lightning.supernet.fast.cpu import AVX512
from nas_lightning.supernet.fast.dilated import convolve
from nas_lightning.supernet.fast.grouped import by_groups, pointwise
from nas_lightning.supernet.fast.kernels import Kernels, Made
from nas_lightning.supernet.fast.products import block_diagonal, mix
from nas_lightning.supernet.fast.tiny import product, tiny

DENSE = 16
"""Up to this many channels an edge, depthwise and pointwise run as one dense convolution where all
edges read the same channels, and at every place of small images; measured by
benchmarks/convolutions.py."""
WIDE_DENSE = DENSE if AVX512 else 8
"""The same of kernels of more than 3x3 pixels without dilation."""
PRODUCT = 48 if AVX512 else 16
"""Up to this many channels of all edges, pointwise convolutions of several edges are, on a CPU, one
product with a matrix that is mostly zeros; that of one edge always is a product; measured by
benchmarks/convolutions.py on either kind of CPU."""

Run = Callable[[Tensor, Made], Tensor]
"""State and kernels → state."""


class Stage(NamedTuple):
    """What an operation does up to a batch norm, on all of its edges.

    Attributes:
        rectify: Begin with ReLU.
        runs: What follows: convolutions and pools.
        norms: The batch norm of each edge; empty if none ends the stage, and so the operation.
    """

    rectify: bool
    runs: Sequence[Run]
    norms: Sequence[nn.Module]


def layers(op: nn.Module) -> Iterator[nn.Module]:
    """The layers of an operation in order, without drop path."""
    if isinstance(op, nn.Sequential):
        for child in op:
            yield from layers(child)
    elif isinstance(op, FactorizedReduce):
        yield from (nn.ReLU(), op, op.norm)
    elif not isinstance(op, DropPath):
        yield op


def batchable(op: nn.Module) -> bool:
    """Whether `stages` knows all layers of an operation."""
    return all(type(layer) in _KNOWN for layer in layers(op))


_KNOWN = {nn.ReLU, nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, FactorizedReduce}


def stages(
    ops: Sequence[nn.Module], kernels: Kernels, states: int = 1, dense: bool = False
) -> list[Stage]:
    """The stages of an operation on n edges.

    Args:
        ops: The operation of each edge. What is not `batchable` runs edge by edge.
        kernels: Gathers the kernels.
        states: How many states the edges leave: as many from each, one state after the other.
        dense: Run depthwise and pointwise convolutions as one at every place.
    """
    if not batchable(ops[0]):
        return [Stage(False, [functools.partial(_one_by_one, ops, states)], ())]
    columns = list(zip(*(layers(op) for op in ops), strict=True))
    return _Reader(columns, kernels, states, dense).stages()


def _one_by_one(ops: Sequence[nn.Module], states: int, x: Tensor, _: Made) -> Tensor:
    inputs = _spread(states, len(ops) // states, x).chunk(len(ops), dim=1)
    return torch.cat([op(part) for op, part in zip(ops, inputs, strict=True)], dim=1)


class _Reader:
    """Turns layers into stages.

    Args:
        columns: Layer by layer, that of every edge.
        kernels: Gathers the kernels.
        states: How many states the edges leave.
        dense: See `stages`.
    """

    def __init__(
        self, columns: list[tuple[nn.Module, ...]], kernels: Kernels, states: int, dense: bool
    ) -> None:
        self.columns, self.kernels, self.states, self.dense = columns, kernels, states, dense
        self.edges = len(columns[0])
        # the edges of a state share its channels until a layer makes some for each
        self.shared = True

    def stages(self) -> list[Stage]:
        """All of them."""
        found = []
        while self.columns:
            rectify = isinstance(self.columns[0][0], nn.ReLU)
            if rectify:
                self.columns.pop(0)
            runs: list[Run] = []
            while self.columns and not isinstance(self.columns[0][0], nn.BatchNorm2d):
                runs += self._runs(self.columns.pop(0))
            norms = self.columns.pop(0) if self.columns else ()
            found.append(Stage(rectify, [*runs, *self._share_out()], norms))
        return found

    def _runs(self, column: Sequence[Any]) -> list[Run]:
        if isinstance(column[0], nn.Conv2d):
            return self._convolve(column)
        if isinstance(column[0], FactorizedReduce):
            self.shared = False
            here = self.kernels.ask([op.conv0 for op in column])
            shifted = self.kernels.ask([op.conv1 for op in column])
            return [functools.partial(_reduce, here, shifted, self.edges, self.states)]
        return [lambda x, _: column[0](x)]

    def _convolve(self, column: Sequence[Any]) -> list[Run]:
        """A convolution, together with the pointwise one behind it where that is faster."""
        depthwise, channels = column[0].groups > 1, column[0].in_channels
        most = (
            WIDE_DENSE if column[0].kernel_size > (3, 3) and column[0].dilation == (1, 1) else DENSE
        )
        dense = not depthwise or (channels <= most and (self.shared or self.dense))
        pointwise = self.columns.pop(0) if depthwise and dense else ()
        if dense:
            groups, times = self.states if self.shared else self.edges, 1
        else:  # every edge needs the channels for itself
            groups, times = self.edges * channels, self.edges // self.states if self.shared else 1
        self.shared = False
        spread = functools.partial(_spread, self.states, times)
        place = self.kernels.ask(column, pointwise)
        if _pointwise(column[0]) and times == 1:
            few = groups == 1 or groups * channels <= PRODUCT
            return [functools.partial(_multiplied if few else _grouped, place, groups)]
        return [functools.partial(_convolved, place, column, groups, spread)]

    def _share_out(self) -> list[Run]:
        """Give every edge the channels that all of its state had together, if they still have."""
        shared, self.shared = self.shared, False
        spread = functools.partial(_spread, self.states, self.edges // self.states)
        return [lambda x, _: spread(x)] if shared else []


def _pointwise(conv: Any) -> bool:
    return conv.weight.shape[2:] == (1, 1) and conv.stride == (1, 1) and conv.bias is None


def _multiplied(place: int, groups: int, x: Tensor, made: Made) -> Tensor:
    kernel = made.kernels[place]
    if groups > 1 and x.device.type != "cpu":  # few operations matter there
        return F.conv2d(x, kernel, groups=groups)
    return mix(x, block_diagonal(kernel, groups))


def _grouped(place: int, groups: int, x: Tensor, made: Made) -> Tensor:
    kernel = made.kernels[place]
    if made.learned and by_groups(x, kernel):
        return pointwise(x, kernel, groups)
    return F.conv2d(x, kernel, groups=groups)


def _convolved(
    place: int,
    convs: Sequence[Any],
    groups: int,
    spread: Callable[[Tensor], Tensor],
    x: Tensor,
    made: Made,
) -> Tensor:
    bias = None if convs[0].bias is None else torch.cat([conv.bias for conv in convs])
    if groups == 1 and bias is None and tiny(x):
        return product(convs[0], x, made.kernels[place])
    return convolve(convs[0], x, made.kernels[place], bias, groups, spread, made.learned)


def _reduce(here: int, shifted: int, edges: int, states: int, x: Tensor, made: Made) -> Tensor:
    first, second = (
        torch.unflatten(made.kernels[place], 0, (edges, -1)) for place in (here, shifted)
    )
    return F.conv2d(x, reducing_kernel(first, second).flatten(0, 1), stride=2, groups=states)


def reducing_kernel(first: Tensor, second: Tensor) -> Tensor:
    """Two strided 1x1 convolutions, the second shifted by a pixel, as one of 2x2 pixels.

    Args:
        first: (..., outputs, inputs, 1, 1).
        second: The same.

    Returns:
        (..., 2 · outputs, inputs, 2, 2).
    """
    return torch.cat((F.pad(first, (0, 1, 0, 1)), F.pad(second, (1, 0, 1, 0))), dim=-4)


def _spread(states: int, times: int, x: Tensor) -> Tensor:
    """The channels of each state, `times` times side by side."""
    if times == 1:
        return x
    parts = x.chunk(states, dim=1)
    return torch.cat([part for part in parts for _ in range(times)], dim=1)
