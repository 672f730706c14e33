"""Count what every candidate of a space of cells costs in the network of a genotype."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from nas_lightning.architecture.genotype import Genotype
from nas_lightning.architecture.genotype_cells import CellGenotype, NodeInput
from nas_lightning.architecture.network import NetworkFactory
from nas_lightning.architecture.prices import Charge, Prices
from nas_lightning.architecture.resources import Part, Resource
from nas_lightning.architecture.space import Cell, SearchSpace
from nas_lightning.errors import UsageError


def cell_prices(
    space: SearchSpace,
    factory: NetworkFactory,
    data_spec: Mapping[str, Any],
    resource: Resource,
    inputs: Any,
) -> Prices:
    """Return the prices of a space whose networks are built from cells.

    A network is built with every candidate on every edge, on the device `meta`. Each candidate is
    counted at the shape at which it runs there, and added over all cells of its kind.

    Args:
        space: The search space.
        factory: Factory of the network.
        data_spec: Sizes of the data.
        resource: The resource.
        inputs: Input of the network for one sample, on the device `meta`; `None` if unknown.

    Raises:
        UsageError: The network does not fit the data, the modules of the candidates are not found,
            or the resource cannot be counted.
    """
    genotype = everything(space)
    with torch.device("meta"):
        try:
            network = factory.build(genotype, data_spec)
        except KeyError as error:
            raise UsageError(
                f"{factory!r} cannot be counted: it needs {error}, which the data of this search "
                f"lack; name a network of the space {space.name}"
            ) from error
    parts = list(cell_parts(network, genotype))
    if not parts:
        raise UsageError(
            f"the candidates of {type(network).__name__} cannot be counted: each of its cells "
            f"needs the attributes genotype, its CellGenotype, and nodes, the modules of its edges"
        )
    costs, fixed = resource.costs(network, parts, inputs)
    charges = {
        cell.kind: torch.zeros(len(cell.edges), len(cell.primitives), dtype=torch.float64)
        for cell in space.cells
    }
    for part, cost in zip(parts, costs, strict=True):
        kind, edge, op = part.candidate
        charges[kind][edge, op] += cost
    return Prices(fixed, tuple(Charge(kind, table) for kind, table in charges.items()))


def everything(space: SearchSpace) -> Genotype:
    """Return the genotype that keeps every candidate, except operations that are excluded."""
    cells = {}
    for cell in space.cells:
        nodes = tuple(
            tuple(NodeInput(cell.primitives[op], cell.edges[row].source) for row, op in places)
            for places in _places(space, cell)
        )
        cells[cell.kind] = CellGenotype(nodes, cell.concat, cell.inputs)
    return Genotype(space, cells)


def cell_parts(network: nn.Module, genotype: Genotype) -> Iterator[Part]:
    """Yield the modules of the candidates in a network of the genotype `everything`."""
    kinds = {id(cell): kind for kind, cell in genotype.cells.items()}
    for module in network.modules():
        kind = kinds.get(id(getattr(module, "genotype", None)))
        if kind is None:
            continue
        cell = genotype.space.cell(kind)
        nodes: Any = module.nodes
        for paths, places in zip(nodes, _places(genotype.space, cell), strict=True):
            for path, (row, op) in zip(paths, places, strict=True):
                yield Part((kind, row, op), cell.primitives[op], path)


def _places(space: SearchSpace, cell: Cell) -> Iterator[list[tuple[int, int]]]:
    """Yield the edge and the operation of every candidate that a node may keep, by node."""
    columns = space.candidates(cell)
    for node in cell.nodes:
        yield [(row, op) for row in cell.incoming(node) for op in columns]
