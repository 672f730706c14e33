"""The space of unrolled reconstructions, inspired by DARTS for inverse problems (2021)."""

from __future__ import annotations

from collections.abc import Sequence

from nas_lightning.architecture.space import Cell, SearchSpace, check_primitives, dense_edges
from nas_lightning.ranges import NODES, at_least, check

RECONSTRUCTION_PRIMITIVES = (
    "none",
    "skip_connect",
    "data_gradient",
    "regularizer",
    "gradient_step",
    "residual_cnn",
    "shift",
)
"""Candidate operations, in the order of the columns of α."""


class ReconstructionSpace(SearchSpace):
    """The space of reconstructions that proceed from state to state, starting at u_0 = A'y.

    State 0 is the only input. Each of the `nodes` later states may follow any earlier state, so
    four of them make E = 1 + 2 + 3 + 4 = 10 edges, and α is (10, 7). A genotype keeps one
    predecessor and one operation for each state. The output is the last state. With a reach of 1
    the states are a chain, an algorithm whose steps are searched: E = `nodes`.

    Args:
        nodes: Number of states after the initial one.
        primitives: Candidate operations on every edge.
        reach: Largest distance from a state to its predecessor; `None` means any.

    Raises:
        UsageError: There is no state, an operation is unknown or repeated, or there are fewer than
            two.
    """

    def __init__(
        self,
        nodes: int = 4,
        primitives: Sequence[str] = RECONSTRUCTION_PRIMITIVES,
        reach: int | None = None,
    ) -> None:
        check_primitives(primitives, RECONSTRUCTION_PRIMITIVES)
        self.nodes = nodes
        self.primitives = list(primitives)
        self.reach = reach
        check(self, nodes=NODES, reach=at_least(1))
        edges = dense_edges(inputs=1, nodes=nodes, reach=reach)
        cell = Cell("unrolled", 1, edges, tuple(primitives), last_node_only=True)
        super().__init__("reconstruction", [cell], 1, RECONSTRUCTION_PRIMITIVES)
