"""The DARTS convolutional cell space (Liu et al., ICLR 2019, section 2.1 and appendix A.1)."""

import re
from collections.abc import Sequence

from nas_lightning.architecture.space import Cell, Edge, SearchSpace
from nas_lightning.errors import UsageError

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

INDIVIDUAL = "darts_individual_"
"""In front of the number of layers, the name of a space whose cells are searched one by one."""

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
    return _space(name, ("normal", "reduce"), nodes, primitives)


def individual_space(
    layers: int, nodes: int = 4, primitives: Sequence[str] = DARTS_PRIMITIVES
) -> SearchSpace:
    """The space of a network whose cells are searched one by one, a kind for each layer.

    Args:
        layers: Number of cells.
        nodes: Intermediate nodes of a cell.
        primitives: Candidate operations on every edge.
    """
    return _space(f"{INDIVIDUAL}{layers}", individual_kinds(layers), nodes, primitives)


def individual_layers(name: str) -> int | None:
    """The number of layers in the name of an individual space; none for another name."""
    found = re.fullmatch(rf"{INDIVIDUAL}([1-9]\d?)", name)
    return int(found[1]) if found else None


def cell_kinds(layers: int) -> tuple[str, ...]:
    """Kind of each cell: reduction at one third and two thirds of the depth, normal elsewhere.

    Raises:
        UsageError: Fewer than one cell.
    """
    if layers < 1:
        raise UsageError(f"a network needs at least one cell, found layers = {layers}")
    reductions = {layers // 3, 2 * layers // 3}
    return tuple("reduce" if i in reductions else "normal" for i in range(layers))


def individual_kinds(layers: int) -> tuple[str, ...]:
    """Kinds of the cells of an individual space: `layer_00_normal`, `layer_01_reduce`, …."""
    if layers >= 100:  # names have two digits
        raise UsageError(f"at most 99 cells are searched one by one, found layers = {layers}")
    return tuple(f"layer_{i:02}_{kind}" for i, kind in enumerate(cell_kinds(layers)))


def layer_kinds(searched: Sequence[str], layers: int) -> tuple[str, ...]:
    """For each layer of a network, which of the searched cells it is.

    Args:
        searched: Kinds of the searched cells, in order.
        layers: Layers of the network.

    Raises:
        UsageError: The cells were searched one by one, for another number of layers, or they are
            not of a DARTS space.
    """
    if set(searched) == {"normal", "reduce"}:
        return cell_kinds(layers)
    if tuple(searched) != individual_kinds(len(searched)):
        raise UsageError(
            f"this network has normal and reduction cells, found {', '.join(searched)}"
        )
    if len(searched) != layers:
        raise UsageError(
            f"the {len(searched)} cells of this genotype were searched one by one: set layers to "
            f"{len(searched)}, found {layers}"
        )
    return tuple(searched)


def _space(name: str, kinds: Sequence[str], nodes: int, primitives: Sequence[str]) -> SearchSpace:
    edges = tuple(Edge(s, t) for t in range(2, 2 + nodes) for s in range(t))
    return SearchSpace(
        name=name,
        cells=tuple(Cell(kind, 2, edges, tuple(primitives)) for kind in kinds),
        inputs_per_node=2,
        known_primitives=frozenset((*DARTS_PRIMITIVES, *PUBLISHED_ONLY, *primitives)) - {"none"},
    )
