"""The DARTS convolutional cell space (Liu et al., ICLR 2019, section 2.1 and appendix A.1)."""

from collections.abc import Sequence

from nas_lightning.architecture.space import Cell, SearchSpace, dense_edges
from nas_lightning.errors import UsageError
from nas_lightning.layers.own import primitive_names, primitive_sources
from nas_lightning.layers.primitives import PRIMITIVES
from nas_lightning.ranges import NODES, at_least, check

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


class DartsSpace(SearchSpace):
    """The space of a normal and a reduction cell with two inputs each.

    Node i (0-based) may receive an edge from both inputs and from every node before it, so four
    nodes make E = 2 + 3 + 4 + 5 = 14 edges, and α of a kind is (14, 8). A genotype keeps two
    edges per node. It may contain every shipped operation on images, since published cells such
    as NASNet's use operations that are not searched.

    Args:
        nodes: Intermediate nodes of a cell.
        primitives: Candidate operations on every edge, by name or import path.

    Raises:
        UsageError: There is no node, an operation is unknown or repeated, or there are fewer than
            two.
    """

    def __init__(self, nodes: int = 4, primitives: Sequence[str] = DARTS_PRIMITIVES) -> None:
        names = primitive_names(primitives)
        self.nodes = nodes
        check(self, nodes=NODES)
        self.primitives = primitive_sources(names)
        super().__init__("darts", *_rules(("normal", "reduce"), nodes, names))

    def title(self, kind: str) -> str:
        """Return the title of a drawn cell."""
        return "Reduction cell" if kind == "reduce" else super().title(kind)


class IndividualDartsSpace(SearchSpace):
    """The space of individually searched cells, with one cell kind per layer.

    Args:
        layers: Number of cells.
        nodes: Intermediate nodes of a cell.
        primitives: Candidate operations on every edge, by name or import path.

    Raises:
        UsageError: There are fewer than 1 or more than 99 layers, or `DartsSpace` would refuse the
            other arguments.
    """

    def __init__(
        self, layers: int, nodes: int = 4, primitives: Sequence[str] = DARTS_PRIMITIVES
    ) -> None:
        names = primitive_names(primitives)
        self.layers = layers
        self.nodes = nodes
        check(self, layers=at_least(1, 99), nodes=NODES)
        self.primitives = primitive_sources(names)
        name = f"darts_individual_{layers}"
        super().__init__(name, *_rules(individual_kinds(layers), nodes, names))


def _rules(
    kinds: Sequence[str], nodes: int, names: tuple[str, ...]
) -> tuple[tuple[Cell, ...], int, frozenset[str]]:
    """Return the cells, the number of edges that a node keeps, and the known operations."""
    edges = dense_edges(inputs=2, nodes=nodes)
    return tuple(Cell(kind, 2, edges, names) for kind in kinds), 2, frozenset({*PRIMITIVES, *names})


def cell_kinds(layers: int) -> tuple[str, ...]:
    """Return the kind of each cell: reduction at 1/3 and 2/3 of the depth, normal elsewhere.

    Raises:
        UsageError: There is no cell.
    """
    if layers < 1:
        raise UsageError(f"a network needs at least one cell, found layers = {layers}")
    reductions = {layers // 3, 2 * layers // 3}
    return tuple("reduce" if i in reductions else "normal" for i in range(layers))


def reductions(roles: Sequence[str]) -> tuple[int, ...]:
    """Return the indices of the reduction cells among the kinds of all cells."""
    return tuple(i for i, role in enumerate(roles) if role == "reduce")


def individual_kinds(layers: int) -> tuple[str, ...]:
    """Return the kinds of an individual space: `layer_00_normal`, `layer_01_reduce`, …."""
    if layers >= 100:  # names have two digits
        raise UsageError(f"at most 99 cells can be searched individually, found layers = {layers}")
    return tuple(f"layer_{i:02}_{kind}" for i, kind in enumerate(cell_kinds(layers)))


def layer_kinds(searched: Sequence[str], layers: int) -> tuple[str, ...]:
    """Return the kind of the searched cell at each layer of a network.

    Args:
        searched: Kinds of the searched cells, in order.
        layers: Number of layers of the network.

    Raises:
        UsageError: The cells were searched individually for another number of layers, or they do
            not belong to a DARTS space.
    """
    if set(searched) == {"normal", "reduce"}:
        return cell_kinds(layers)
    if tuple(searched) != individual_kinds(len(searched)):
        raise UsageError(
            f"this network needs a normal and a reduction cell, found {', '.join(searched)}"
        )
    if len(searched) != layers:
        raise UsageError(
            f"the {len(searched)} cells of this genotype were searched individually: set layers to "
            f"{len(searched)}, found {layers}"
        )
    return tuple(searched)
