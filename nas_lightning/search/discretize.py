"""Turn mixing weights into a genotype, and a genotype into one-hot mixing weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nas_lightning import __version__
from nas_lightning.architecture import Cell, CellGenotype, Genotype, NodeInput, SearchSpace
from nas_lightning.supernet import ArchitectureParameters, Mixing

Discretizer = Callable[[SearchSpace, Mixing], Genotype]
"""Mixing weights → genotype."""


def strongest_edges(space: SearchSpace, mixing: Mixing) -> Genotype:
    """Keep the strongest edges of each node and the best operation on each.

    A space without `inputs_per_node` keeps all edges, in their order. The strength of edge l is
    the largest of ops[l, m] · edges[l] over the operations m that are not excluded. The weights
    were normalised over all operations (DARTS, section 2.4; with edge weights PC-DARTS, section
    3.2). An edge weight scales a whole row, so it can change the choice of edges but not the
    choice of the operation on an edge. Ties go to the lower index.
    """
    cells = {
        cell.kind: _strongest(cell, mixing.ops[cell.kind], mixing.edges[cell.kind], space)
        for cell in space.cells
    }
    return Genotype(space, cells)


def derive(
    arch: ArchitectureParameters, discretizer: Discretizer, origin: Mapping[str, Any]
) -> Genotype:
    """Return the genotype of architecture parameters, with their mixing weights.

    Args:
        arch: α, β.
        discretizer: Turns the mixing weights into cells.
        origin: Provenance of the genotype; the version of this package is added.
    """
    with torch.no_grad():
        mixing = arch()
    cells = discretizer(arch.space, mixing).cells
    provenance = {"version": __version__, **origin}
    return Genotype(arch.space, cells, provenance, mixing.to_dict())


def _strongest(cell: Cell, ops: Tensor, edges: Tensor, space: SearchSpace) -> CellGenotype:
    columns = space.candidates(cell)
    scores = (ops * edges[:, None]).detach().double().cpu()[:, columns]  # (E, O')
    strength, best = scores.max(dim=1).values.tolist(), ops.detach()[:, columns].argmax(dim=1)
    nodes = []
    for node in cell.nodes:
        kept = cell.incoming(node)
        if space.inputs_per_node is not None:
            kept = sorted(kept, key=lambda i: -strength[i])[: space.inputs_per_node]
        nodes.append(
            tuple(
                NodeInput(cell.primitives[columns[int(best[i])]], cell.edges[i].source)
                for i in kept
            )
        )
    return CellGenotype(tuple(nodes), cell.concat, cell.inputs)


def one_hot(space: SearchSpace, genotype: Genotype, device: torch.device) -> Mixing:
    """Return mixing weights under which a supernet computes exactly the cells of a genotype.

    Args:
        space: Space of the supernet.
        genotype: Cells; all of their operations are searched in the space.
        device: Device of the weights.
    """
    ops, edges, active = {}, {}, {}
    for cell in space.cells:
        op = torch.zeros(len(cell.edges), len(cell.primitives), device=device)
        edge = torch.zeros(len(cell.edges), device=device)
        for target, node in zip(cell.nodes, genotype.cells[cell.kind].nodes, strict=True):
            for kept in node:
                row = next(i for i in cell.incoming(target) if cell.edges[i].source == kept.source)
                op[row, cell.primitives.index(kept.primitive)] = 1.0
                edge[row] = 1.0
        ops[cell.kind], edges[cell.kind] = op, edge
        # all others have weight zero: not running them saves most of the time
        active[cell.kind] = tuple(tuple(torch.nonzero(row)[:, 0].tolist()) or (0,) for row in op)
    return Mixing(ops, edges, active)
