"""The space of unrolled reconstructions, inspired by DARTS for inverse problems (2021)."""

from __future__ import annotations

from collections.abc import Sequence

from nas_lightning.architecture.space import Cell, Edge, SearchSpace

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

RECONSTRUCTION_NAME = "reconstruction"


def reconstruction_space(
    nodes: int = 4,
    primitives: Sequence[str] = RECONSTRUCTION_PRIMITIVES,
    reach: int | None = None,
) -> SearchSpace:
    """The space of a reconstruction that goes from state to state, from u_0 = A'y to the last.

    State 0 is the only input, and each of the `nodes` states behind it may follow any state
    before it, so four of them make E = 1 + 2 + 3 + 4 = 10 edges, and α is (10, 7). A genotype
    keeps one predecessor and one operation a state. The output is the last state. With a reach
    of 1 the states are a chain, an algorithm of which each step is searched: E = `nodes`.

    Args:
        nodes: States behind the initial one.
        primitives: Candidate operations on every edge.
        reach: How many states back a state may follow; none for all of them.
    """
    reach = nodes if reach is None else reach
    edges = tuple(Edge(s, t) for t in range(1, 1 + nodes) for s in range(max(0, t - reach), t))
    return SearchSpace(
        name=RECONSTRUCTION_NAME,
        cells=(Cell("unrolled", 1, edges, tuple(primitives), last_node_only=True),),
        inputs_per_node=1,
        known_primitives=frozenset(RECONSTRUCTION_PRIMITIVES) - {"none"},
    )
