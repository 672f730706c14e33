"""The rule by which P-DARTS reads a genotype off the mixing weights of its last search."""

from __future__ import annotations

from typing import final

from nas_lightning.architecture import Cell, CellGenotype, Genotype, NodeInput, SearchSpace
from nas_lightning.search import DISCRETIZER, SearchPlan, SearchStrategy
from nas_lightning.supernet import Mixing


@final
class LaterEdges(SearchStrategy):
    """Derive the genotype as P-DARTS does: equal weights go to the later candidate.

    As in `strongest_edges`, the weights of excluded operations (`none`) count as zero, the others
    are not normalised again, the strength of an edge is its largest remaining weight times the
    weight of the edge, and each node keeps its strongest edges. The order differs: of operations of
    equal weight the last one is taken, of edges of equal strength the later ones, and the inputs of
    a node are listed by their source instead of their strength (P-DARTS' released code; Chen et
    al., ICCV 2019). Fills: discretizer. Cost: none.
    """

    replayable = True

    def configure(self, plan: SearchPlan) -> None:
        """Fill the discretizer."""
        plan.fill(DISCRETIZER, later_edges, by=self)


def later_edges(space: SearchSpace, mixing: Mixing) -> Genotype:
    """Return the genotype of mixing weights, see `LaterEdges`."""
    return Genotype(space, {cell.kind: _derived(cell, mixing, space) for cell in space.cells})


def _derived(cell: Cell, mixing: Mixing, space: SearchSpace) -> CellGenotype:
    ops = mixing.ops[cell.kind].detach().double()
    scores = (ops * mixing.edges[cell.kind].detach().double()[:, None]).tolist()  # (E, O)
    rows = ops.tolist()
    allowed = space.candidates(cell)
    strength = [max(row[m] for m in allowed) for row in scores]
    nodes = []
    for node in cell.nodes:
        incoming = cell.incoming(node)
        ranked = sorted(incoming, key=strength.__getitem__)  # equal ones by their index
        kept = ranked[-(space.inputs_per_node or len(ranked)) :]
        nodes.append(
            tuple(
                NodeInput(
                    cell.primitives[max(allowed, key=lambda m, row=rows[i]: (row[m], m))],  # type: ignore[misc] # mypy types no defaults of a lambda
                    cell.edges[i].source,
                )
                for i in sorted(kept)
            )
        )
    return CellGenotype(tuple(nodes), cell.concat, cell.inputs)
