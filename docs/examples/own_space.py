"""A custom cell space: three nodes, and a residual connection around each cell."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from nas_lightning.architecture import (
    Cell,
    Genotype,
    NetworkFactory,
    RetrainNetwork,
    SearchSpace,
    dense_edges,
)
from nas_lightning.errors import UsageError
from nas_lightning.layers import ClassificationHead, NormRule, primitive_names, primitive_sources
from nas_lightning.spaces import SpaceFamily, register_space
from nas_lightning.spaces.nas_bench_201 import (
    PlainCell,
    PlainNetwork,
    PlainSearchCell,
    PlainSupernet,
    Skeleton,
)
from nas_lightning.supernet import CellExecution, Supernet, SupernetFactory

PRIMITIVES = ("none", "skip_connect", "nor_conv_1x1", "sep_conv_3x3")


class ResidualSpace(SearchSpace):
    """One kind of cell: three nodes that each keep two edges; the output is the last node.

    The constructor keeps its arguments under their own names, since genotype files record them.
    """

    def __init__(self, primitives: Sequence[str] = PRIMITIVES) -> None:
        names = primitive_names(primitives)
        self.primitives = primitive_sources(names)
        edges = dense_edges(inputs=1, nodes=3)
        cell = Cell("residual", 1, edges, names, last_node_only=True)
        super().__init__("residual", [cell], inputs_per_node=1)


class Residual(nn.Module):
    """A cell with a residual connection: x + cell(x)."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, *weights: Any) -> Tensor:
        """Return (B, C, H, W) for x (B, C, H, W)."""
        out: Tensor = x + self.cell(x, *weights)
        return out


class ResidualSupernet(SupernetFactory):
    """The supernet, in which every edge mixes all operations."""

    def __init__(
        self, channels: int = 16, cells: int = 2, primitives: Sequence[str] = PRIMITIVES
    ) -> None:
        self._space = ResidualSpace(primitives)
        self.channels = channels
        self.cells = cells
        self.primitives = self._space.primitives

    @property
    def space(self) -> SearchSpace:
        """The search space of the supernet."""
        return self._space

    def build(
        self,
        data_spec: Mapping[str, Any],
        k: int,
        auxiliary: bool = False,
        execution: CellExecution | None = None,
    ) -> Supernet:
        """Build the supernet for images."""
        _check(auxiliary)
        (cell,) = self.space.cells
        norm = NormRule(affine=False, after_pool=True, running_stats=False)

        def make_cell(channels: int) -> nn.Module:
            return Residual(PlainSearchCell(cell, channels, k, norm, execution))

        return PlainSupernet(self.space, _network(self, data_spec, make_cell), execution)


class ResidualNetwork(NetworkFactory):
    """The network of a genotype, with the same skeleton around discrete cells."""

    def __init__(self, channels: int = 16, cells: int = 4) -> None:
        self.channels = channels
        self.cells = cells

    def build(
        self, genotype: Genotype, data_spec: Mapping[str, Any], auxiliary: bool = False
    ) -> RetrainNetwork:
        """Build the network for images."""
        _check(auxiliary)
        (cell,) = genotype.cells.values()
        return PlainNetwork(
            _network(self, data_spec, lambda channels: Residual(PlainCell(cell, channels)))
        )


def _check(auxiliary: bool) -> None:
    if auxiliary:
        raise UsageError("residual networks have no auxiliary head: set auxiliary_weight to 0")


def _network(sizes: Any, data_spec: Mapping[str, Any], make_cell: Any) -> Skeleton:
    return Skeleton(
        data_spec["in_channels"],
        sizes.channels,
        sizes.cells,
        running_stats=isinstance(sizes, NetworkFactory),
        make_cell=make_cell,
        make_head=functools.partial(ClassificationHead, out_features=data_spec["num_classes"]),
    )


@register_space
class ResidualFamily(SpaceFamily):
    """The registry entry, through which genotypes find their supernet and their network."""

    spaces = (ResidualSpace,)
    supernet = ResidualSupernet
    network = ResidualNetwork
    sizes: ClassVar[Mapping[str, str]] = {"channels": "channels", "layers": "cells"}
