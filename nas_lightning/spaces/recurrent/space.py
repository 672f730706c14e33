"""The DARTS space of recurrent cells (Liu et al., ICLR 2019, section 2.1 and appendix A.1.2)."""

from __future__ import annotations

from collections.abc import Sequence

from nas_lightning.architecture.space import Cell, SearchSpace, check_primitives, dense_edges
from nas_lightning.ranges import NODES, check

RECURRENT_PRIMITIVES = ("none", "tanh", "relu", "sigmoid", "identity")
"""Candidate operations, in the order of the columns of α."""


class RecurrentSpace(SearchSpace):
    """The space of a recurrent cell, a tree of steps from an initial state.

    State 0 is computed from the word and the cell's output at the previous word. It is the only
    input of the cell; states 1 to `steps` are the steps. Each step may follow any earlier
    state, so eight steps make E = 1 + 2 + … + 8 = 36 edges, and α is (36, 5). A genotype keeps one
    predecessor and one operation for each step. The cell's output is the mean of all steps.

    Args:
        steps: Number of steps of the cell.
        primitives: Candidate operations on every edge.

    Raises:
        UsageError: There is no step, an operation is unknown or repeated, or there are fewer than
            two.
    """

    def __init__(self, steps: int = 8, primitives: Sequence[str] = RECURRENT_PRIMITIVES) -> None:
        check_primitives(primitives, RECURRENT_PRIMITIVES)
        self.steps = steps
        check(self, steps=NODES)
        self.primitives = list(primitives)
        cell = Cell("recurrent", 1, dense_edges(inputs=1, nodes=steps), tuple(primitives))
        super().__init__("darts_recurrent", [cell], 1, RECURRENT_PRIMITIVES)
