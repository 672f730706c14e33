"""Edges that have got their operation during a search, and the edges that this removes."""

from __future__ import annotations

from typing import NamedTuple

from nas_lightning.architecture import Cell, CellGenotype, Genotype, NodeInput, SearchSpace
from nas_lightning.supernet import Mixing


class Decision(NamedTuple):
    """An edge that has got its operation.

    Attributes:
        epoch: Epoch, counted from 0, at whose end it was decided.
        kind: Kind of the cell.
        edge: Index of the edge.
        operation: Index of the operation.
    """

    epoch: int
    kind: str
    edge: int
    operation: int


class EdgeDecisions(list[Decision]):
    """Decisions in their order.

    A node with `inputs_per_node` decided edges loses its other edges.
    """

    def operations(self, cell: Cell) -> dict[int, int]:
        """Return the operation of each decided edge of a cell."""
        return {d.edge: d.operation for d in self if d.kind == cell.kind}

    def pruned(self, space: SearchSpace, cell: Cell) -> list[int]:
        """Return the edges of a cell that are removed."""
        decided = self.operations(cell)
        if space.inputs_per_node is None:
            return []
        return [
            edge
            for node in cell.nodes
            for edge in cell.incoming(node)
            if edge not in decided
            and sum(other in decided for other in cell.incoming(node)) >= space.inputs_per_node
        ]

    def undecided(self, space: SearchSpace, cell: Cell) -> list[int]:
        """Return the edges of a cell that are neither decided nor removed."""
        gone = {*self.operations(cell), *self.pruned(space, cell)}
        return [edge for edge in range(len(cell.edges)) if edge not in gone]

    def genotype(self, space: SearchSpace, mixing: Mixing) -> Genotype:
        """Build a genotype of the decided edges, and of undecided ones where some are missing.

        A missing edge is the undecided one with the largest sum of weights over the operations that
        a genotype may contain, with the best of these. Ties go to the lower index. The inputs of a
        node are in the order of their edges.
        """
        cells = {}
        for cell in space.cells:
            rows = mixing.ops[cell.kind].tolist()
            nodes = tuple(self._node(space, cell, node, rows) for node in cell.nodes)
            cells[cell.kind] = CellGenotype(nodes, cell.concat, cell.inputs)
        return Genotype(space, cells)

    def _node(
        self, space: SearchSpace, cell: Cell, node: int, rows: list[list[float]]
    ) -> tuple[NodeInput, ...]:
        columns, decided = space.candidates(cell), self.operations(cell)

        def rank(edge: int) -> tuple[bool, float]:
            excluded = (weight for m, weight in enumerate(rows[edge]) if m not in columns)
            return edge not in decided, sum(excluded)

        gone = self.pruned(space, cell)
        left = [edge for edge in cell.incoming(node) if edge not in gone]
        inputs = []
        for edge in sorted(sorted(left, key=rank)[: space.inputs_per_node]):
            best = decided.get(edge, max(columns, key=rows[edge].__getitem__))
            inputs.append(NodeInput(cell.primitives[best], cell.edges[edge].source))
        return tuple(inputs)
