"""The NAS-Bench-201 space (Dong and Yang, ICLR 2020) and the skeleton around its cells."""

from __future__ import annotations

from collections.abc import Sequence

from nas_lightning.architecture.space import Cell, Edge, SearchSpace

NAS_BENCH_201_PRIMITIVES = (
    "none",
    "skip_connect",
    "nor_conv_1x1",
    "nor_conv_3x3",
    "avg_pool_3x3",
)
"""Candidate operations, in the order of the columns of α."""


def nas_bench_201_space(primitives: Sequence[str] = NAS_BENCH_201_PRIMITIVES) -> SearchSpace:
    """One cell kind of one input and three nodes: 6 edges, 5^6 = 15,625 cells.

    Every edge is kept, with the best of its operations, `none` included. The output is the last
    node.

    Args:
        primitives: Candidate operations on every edge; GAEA's search leaves `none` out.
    """
    edges = tuple(Edge(source, target) for target in range(1, 4) for source in range(target))
    return SearchSpace(
        name="nas_bench_201",
        cells=(Cell("cell", 1, edges, tuple(primitives), last_node_only=True),),
        inputs_per_node=None,
        known_primitives=frozenset(NAS_BENCH_201_PRIMITIVES),
        excluded=frozenset(),
    )
