"""The undecided edges and nodes of a supernet, and its mixing weights without one candidate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from scipy import stats
from torch import Tensor

from nas_lightning.architecture import Cell, SearchSpace
from nas_lightning.supernet import Mixing

Place = tuple[str, int]
"""A cell kind, and the index of one of its edges or the state of one of its nodes."""
Kept = Mapping[str, Tensor]
"""The operations that run, by cell kind (E, O)."""


def groups(space: SearchSpace) -> list[list[Cell]]:
    """Return the cells of a space, grouped so that each round decides one place of each group.

    Every cell kind is a group. In a network with choices, each of which is a cell with one edge,
    all choices are one group.
    """
    return [list(space.cells)] if space.of_choices else [[cell] for cell in space.cells]


def candidates(space: SearchSpace, cell: Cell, row: Tensor) -> list[int]:
    """Return the operations of an edge that run and that a genotype may contain.

    Args:
        space: The search space.
        cell: The cell.
        row: True for operations that run (O,).
    """
    return [m for m in space.candidates(cell) if row[m]]


def undecided(space: SearchSpace, cells: Sequence[Cell], kept: Kept) -> list[Place]:
    """Return the edges on which more than one operation runs."""
    return [
        (cell.kind, edge)
        for cell in cells
        for edge, row in enumerate(kept[cell.kind].cpu())
        if row.sum() > 1 and candidates(space, cell, row)
    ]


def running_edges(cell: Cell, node: int, kept: Kept) -> list[int]:
    """Return the edges into a node on which an operation runs."""
    runs = kept[cell.kind].any(dim=1).tolist()
    return [edge for edge in cell.incoming(node) if runs[edge]]


def crowded(space: SearchSpace, cells: Sequence[Cell], kept: Kept) -> list[Place]:
    """Return the nodes that have more edges than a genotype keeps."""
    most = math.inf if space.inputs_per_node is None else space.inputs_per_node
    return [
        (cell.kind, node)
        for cell in cells
        for node in cell.nodes
        if len(running_edges(cell, node, kept)) > most
    ]


def count_rounds(space: SearchSpace, kept: Kept) -> tuple[int, int]:
    """Return the numbers of rounds that decide operations, and edges."""
    found = [(undecided(space, one, kept), crowded(space, one, kept)) for one in groups(space)]
    operations, edges = zip(*found, strict=True)
    return max(map(len, operations)), max(map(len, edges))


def count_passes(space: SearchSpace, kept: Kept) -> int:
    """Return the number of measurements of all rounds."""
    passes = 0
    for kind, edge in undecided(space, space.cells, kept):
        passes += 1 + len(candidates(space, space.cell(kind), kept[kind][edge]))
    for kind, node in crowded(space, space.cells, kept):
        most, running = space.inputs_per_node, len(running_edges(space.cell(kind), node, kept))
        assert most is not None
        passes += sum(range(most + 1, running + 1))
    return passes


def without_operations(mixing: Mixing, cell: Cell, edge: int, gone: Sequence[int]) -> Mixing:
    """Return mixing weights without some operations of an edge, which then do not run.

    The weights of the others stay as they are: they are not normalised again.

    Args:
        mixing: Mixing weights without a graph.
        cell: The cell.
        edge: Index of the edge.
        gone: Indices of the operations.
    """
    weights = mixing.ops[cell.kind].clone()
    weights[edge, list(gone)] = 0
    everything = (tuple(range(len(cell.primitives))),) * len(cell.edges)
    active = list(mixing.active.get(cell.kind, everything))
    active[edge] = tuple(m for m in active[edge] if m not in gone)
    return replace(
        mixing,
        ops={**mixing.ops, cell.kind: weights},
        active={**mixing.active, cell.kind: tuple(active)},
    )


def without_edge(mixing: Mixing, cell: Cell, edge: int) -> Mixing:
    """Return mixing weights without an edge."""
    return without_operations(mixing, cell, edge, range(len(cell.primitives)))


def agreement(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the rank correlation τ_b of Kendall; `None` if all values of one are equal.

    A single pair, the only candidate of an edge, has none either.
    """
    if len(first) < 2:
        return None
    found = float(stats.kendalltau(first, second).statistic)
    return None if math.isnan(found) else found
