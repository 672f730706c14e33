"""The DARTS space of recurrent cells (Liu et al., ICLR 2019, section 2.1 and appendix A.1.2)."""

from __future__ import annotations

from collections.abc import Sequence

from nas_lightning.architecture.space import Cell, Edge, SearchSpace

RECURRENT_PRIMITIVES = ("none", "tanh", "relu", "sigmoid", "identity")
"""Candidate operations, in the order of the columns of α."""

RECURRENT_NAME = "darts_recurrent"


def recurrent_space(
    steps: int = 8, primitives: Sequence[str] = RECURRENT_PRIMITIVES, name: str = RECURRENT_NAME
) -> SearchSpace:
    """The space of a recurrent cell: a tree of steps that grows from an initial state.

    State 0 is made of the word and of the cell's output at the word before; it is the cell's only
    input here, and states 1 to `steps` are the steps. Each step may follow any state before it,
    so eight steps make E = 1 + 2 + … + 8 = 36 edges, and α is (36, 5). A genotype keeps one
    predecessor and one operation a step. The cell's output is the mean of all steps.

    Args:
        steps: Steps of the cell.
        primitives: Candidate operations on every edge.
        name: Name of the space.
    """
    edges = tuple(Edge(s, t) for t in range(1, 1 + steps) for s in range(t))
    return SearchSpace(
        name=name,
        cells=(Cell("recurrent", 1, edges, tuple(primitives)),),
        inputs_per_node=1,
        known_primitives=frozenset((*RECURRENT_PRIMITIVES, *primitives)) - {"none"},
    )
