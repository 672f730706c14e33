"""The DARTS convolutional cell space (Liu et al., ICLR 2019, section 2.1 and appendix A.1)."""

from collections.abc import Sequence

from nas_lightning.spaces.types import Cell, Edge, SearchSpace

DARTS_PRIMITIVES = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""Candidate operations, in the order of the columns of α."""

PUBLISHED_ONLY = ("sep_conv_7x7", "conv_7x1_1x7")
"""Operations of NASNet and AmoebaNet cells: they load, draw and retrain, but are not searched."""


def darts_space(
    nodes: int = 4, primitives: Sequence[str] = DARTS_PRIMITIVES, name: str = "darts"
) -> SearchSpace:
    """The space of a normal and a reduction cell with two inputs each.

    Node i (0-based) may receive an edge from both inputs and from every node before it, so four
    nodes make E = 2 + 3 + 4 + 5 = 14 edges, and α of a kind is (14, 8).

    Args:
        nodes: Intermediate nodes of a cell.
        primitives: Candidate operations on every edge.
        name: Name of the space.
    """
    edges = tuple(Edge(s, t) for t in range(2, 2 + nodes) for s in range(t))
    return SearchSpace(
        name=name,
        cells=tuple(Cell(kind, 2, edges, tuple(primitives)) for kind in ("normal", "reduce")),
        inputs_per_node=2,
        known_primitives=frozenset((*DARTS_PRIMITIVES, *PUBLISHED_ONLY, *primitives)) - {"none"},
    )
