"""The NAS-Bench-201 space (Dong and Yang, ICLR 2020)."""

from __future__ import annotations

from collections.abc import Sequence

from nas_lightning.architecture.space import Cell, SearchSpace, dense_edges
from nas_lightning.layers.own import primitive_names, primitive_sources

NAS_BENCH_201_PRIMITIVES = (
    "none",
    "skip_connect",
    "nor_conv_1x1",
    "nor_conv_3x3",
    "avg_pool_3x3",
)
"""Candidate operations, in the order of the columns of α."""


class NasBench201Space(SearchSpace):
    """One kind of cell with one input and three nodes: 6 edges, 5^6 = 15,625 cells.

    A genotype keeps every edge with its best operation, which may be `none`. The output is the
    last node. The table of the benchmark covers only cells of the five default operations.

    Args:
        primitives: Candidate operations on every edge, by name or import path; GAEA's search
            leaves `none` out.

    Raises:
        UsageError: An operation is unknown or repeated, or there are fewer than two.
    """

    def __init__(self, primitives: Sequence[str] = NAS_BENCH_201_PRIMITIVES) -> None:
        names = primitive_names(primitives)
        self.primitives = primitive_sources(names)
        cell = Cell("cell", 1, dense_edges(inputs=1, nodes=3), names, last_node_only=True)
        known = (*NAS_BENCH_201_PRIMITIVES, *names)
        super().__init__("nas_bench_201", [cell], None, known, excluded=())
