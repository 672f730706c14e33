"""Published cells of the DARTS space.

These are facts, not code: the (operation, predecessor) pairs that the authors released.
"""

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput
from nas_lightning.spaces.darts.space import DartsSpace

SHORT = {
    "max": "max_pool_3x3",
    "avg": "avg_pool_3x3",
    "skip": "skip_connect",
    "sep3": "sep_conv_3x3",
    "sep5": "sep_conv_5x5",
    "sep7": "sep_conv_7x7",
    "dil3": "dil_conv_3x3",
    "dil5": "dil_conv_5x5",
    "7x1": "conv_7x1_1x7",
}


def _cell(text: str, concat: tuple[int, ...]) -> CellGenotype:
    """Read `"sep3@1 skip@0 | …"`: inputs are separated by spaces, nodes by bars."""
    nodes = []
    for node in text.split("|"):
        pairs = (item.split("@") for item in node.split())
        nodes.append(tuple(NodeInput(SHORT[op], int(source)) for op, source in pairs))
    return CellGenotype(tuple(nodes), concat)


def _published(
    source: str,
    normal: str,
    reduce: str,
    normal_concat: tuple[int, ...] = (2, 3, 4, 5),
    reduce_concat: tuple[int, ...] = (2, 3, 4, 5),
) -> Genotype:
    cells = {"normal": _cell(normal, normal_concat), "reduce": _cell(reduce, reduce_concat)}
    return Genotype(DartsSpace(), cells, provenance={"source": source})


SGAS_CELLS: dict[tuple[int, int], tuple[str, str]] = {
    (1, 1): (
        "skip@0 sep3@1 | sep3@0 sep5@1 | sep3@1 sep3@2 | dil5@2 dil3@3",
        "max@0 dil3@1 | sep3@0 sep5@2 | max@1 skip@2 | skip@2 skip@3",
    ),
    (1, 2): (
        "sep3@0 dil3@1 | skip@0 dil3@2 | sep3@1 sep3@2 | sep3@2 sep5@4",
        "avg@0 sep3@1 | max@0 skip@2 | max@0 sep5@2 | max@1 dil5@3",
    ),
    (1, 3): (
        "sep3@0 dil3@1 | sep3@0 sep3@1 | sep5@1 sep5@3 | skip@0 dil5@2",
        "max@0 dil5@1 | sep3@0 skip@2 | sep3@1 skip@2 | max@0 max@1",
    ),
    (1, 4): (
        "sep3@0 sep3@1 | skip@0 skip@2 | sep3@1 sep3@2 | dil3@2 dil5@4",
        "avg@0 sep5@1 | avg@0 dil5@2 | max@0 dil5@2 | max@0 skip@2",
    ),
    (1, 5): (
        "dil5@0 sep3@1 | skip@0 sep3@1 | skip@0 sep3@2 | dil5@2 sep5@3",
        "max@0 sep5@1 | max@0 skip@2 | sep3@2 sep5@3 | avg@0 skip@2",
    ),
    (1, 6): (
        "sep3@0 sep3@1 | dil3@1 dil3@2 | sep3@1 dil5@2 | skip@1 sep3@2",
        "avg@0 max@1 | max@1 dil5@2 | max@0 dil3@3 | skip@2 dil5@3",
    ),
    (1, 7): (
        "sep3@0 sep5@1 | skip@0 sep5@2 | sep3@2 dil5@3 | sep3@0 dil3@2",
        "dil3@0 avg@1 | max@0 sep3@2 | max@1 dil5@3 | avg@0 sep5@2",
    ),
    (1, 8): (
        "sep5@0 sep3@1 | dil3@1 dil3@2 | skip@0 sep3@1 | dil5@1 sep3@2",
        "sep3@0 sep3@1 | max@1 skip@2 | max@1 sep5@2 | max@0 sep5@3",
    ),
    (1, 9): (
        "sep5@0 sep5@1 | sep3@1 dil3@2 | sep3@1 dil5@3 | sep3@1 dil3@3",
        "avg@0 sep3@1 | max@0 dil5@2 | max@0 sep3@2 | max@1 skip@2",
    ),
    (1, 10): (
        "sep3@0 dil5@1 | sep3@0 dil3@2 | sep3@1 dil3@3 | dil3@2 dil3@4",
        "max@0 sep3@1 | sep3@0 sep5@2 | max@0 max@1 | max@0 sep3@2",
    ),
    (2, 1): (
        "sep3@0 sep3@1 | sep5@0 sep5@1 | skip@0 sep5@2 | sep3@1 dil5@2",
        "max@0 sep5@1 | max@1 sep3@2 | max@0 sep3@3 | sep3@0 dil5@2",
    ),
    (2, 2): (
        "sep3@0 sep3@1 | sep3@0 skip@2 | sep5@1 sep3@2 | dil5@1 sep3@2",
        "avg@0 max@1 | max@0 sep5@2 | max@0 dil5@2 | avg@0 max@1",
    ),
    (2, 3): (
        "sep3@0 sep3@1 | sep3@0 sep3@2 | max@0 sep3@3 | sep3@2 sep3@3",
        "sep3@0 max@1 | dil3@0 max@1 | max@0 sep3@2 | max@0 sep5@2",
    ),
    (2, 4): (
        "sep3@0 sep3@1 | sep3@0 sep3@1 | dil5@0 dil3@2 | sep3@1 dil5@3",
        "sep5@0 dil3@1 | max@0 max@1 | dil3@0 dil5@2 | max@0 avg@1",
    ),
    (2, 5): (
        "sep3@0 sep5@1 | skip@0 sep5@1 | dil3@1 dil3@2 | sep3@2 dil5@3",
        "sep5@0 skip@1 | max@1 sep5@2 | max@0 sep5@3 | max@0 skip@2",
    ),
    (2, 6): (
        "sep3@0 sep3@1 | sep3@0 dil5@2 | sep3@1 sep3@3 | dil5@2 dil3@3",
        "sep5@0 sep5@1 | max@0 max@1 | avg@0 sep5@3 | max@0 skip@2",
    ),
    (2, 7): (
        "sep3@0 sep3@1 | sep3@0 sep3@1 | skip@1 dil3@2 | sep5@1 dil5@3",
        "max@0 avg@1 | max@1 dil5@2 | max@1 skip@2 | max@0 sep3@2",
    ),
    (2, 8): (
        "sep3@0 sep5@1 | sep3@0 sep3@1 | sep5@1 sep5@2 | sep3@1 dil5@3",
        "avg@0 skip@1 | max@0 skip@2 | max@0 sep5@2 | max@1 skip@2",
    ),
    (2, 9): (
        "max@0 sep5@1 | sep5@0 sep5@1 | dil3@1 dil3@3 | sep3@1 dil3@3",
        "sep3@0 sep5@1 | max@0 dil5@2 | dil5@2 sep3@3 | avg@0 max@1",
    ),
    (2, 10): (
        "sep3@0 sep5@1 | sep5@1 dil5@2 | sep3@2 dil5@3 | max@0 dil3@3",
        "avg@0 skip@1 | sep5@0 skip@2 | max@0 sep5@2 | max@1 dil3@2",
    ),
}
"""Normal and reduction cell of SGAS by criterion and run, in the order of the authors' list."""

SGAS = {
    f"SGAS_CRI{criterion}_{run}": _published(
        f"SGAS, criterion {criterion}, run {run} of 10 on CIFAR-10 (Li et al., CVPR 2020)", *cells
    )
    for (criterion, run), cells in SGAS_CELLS.items()
}
"""Cells of SGAS by name, such as `SGAS_CRI1_3`."""


DARTS_PUBLISHED = {
    "DARTS_V1": _published(
        "DARTS, first order (Liu et al., ICLR 2019)",
        normal="sep3@1 sep3@0 | skip@0 sep3@1 | skip@0 sep3@1 | sep3@0 skip@2",
        reduce="max@0 max@1 | skip@2 max@0 | max@0 skip@2 | skip@2 avg@0",
    ),
    "DARTS_V2": _published(
        "DARTS, second order (Liu et al., ICLR 2019)",
        normal="sep3@0 sep3@1 | sep3@0 sep3@1 | sep3@1 skip@0 | skip@0 dil3@2",
        reduce="max@0 max@1 | skip@2 max@1 | max@0 skip@2 | skip@2 max@1",
    ),
    "PC_DARTS_CIFAR": _published(
        "PC-DARTS, searched on CIFAR-10 (Xu et al., ICLR 2020)",
        normal="sep3@1 skip@0 | sep3@0 dil3@1 | sep5@0 sep3@1 | avg@0 dil3@1",
        reduce="sep5@1 max@0 | sep5@1 sep5@2 | sep3@0 sep3@3 | sep3@1 sep3@2",
    ),
    "PC_DARTS_IMAGENET": _published(
        "PC-DARTS, searched on ImageNet (Xu et al., ICLR 2020)",
        normal="skip@1 sep3@0 | sep3@0 skip@1 | sep3@1 sep3@3 | sep3@1 dil5@4",
        reduce="sep3@0 skip@1 | dil5@2 max@1 | sep3@2 sep3@1 | sep5@0 sep3@3",
    ),
    "PDARTS": _published(
        "P-DARTS, searched on CIFAR-10 (Chen et al., ICCV 2019)",
        normal="skip@0 dil3@1 | skip@0 sep3@1 | sep3@1 sep3@3 | sep3@0 dil5@4",
        reduce="avg@0 sep5@1 | sep3@0 dil5@2 | max@0 dil3@1 | dil3@1 dil5@3",
    ),
    "CDARTS_CIFAR": _published(
        "CDARTS, searched on CIFAR-10 (Yu et al., 2020)",
        normal="sep3@0 sep3@1 | sep3@1 sep3@2 | sep3@0 sep3@1 | skip@0 skip@2",
        reduce="sep5@1 max@0 | dil5@2 skip@0 | sep3@0 sep5@1 | sep3@0 dil5@2",
    ),
    "CDARTS_IMAGENET": _published(
        "CDARTS, searched on ImageNet (Yu et al., 2020)",
        normal="sep3@1 sep3@0 | sep3@0 sep5@2 | sep5@2 sep3@1 | sep3@1 sep5@4",
        reduce="sep5@1 avg@0 | max@1 dil5@2 | sep5@1 dil5@2 | sep3@3 dil3@4",
    ),
    **SGAS,
    "NASNet": _published(
        "NASNet-A (Zoph et al., CVPR 2018), as listed by the DARTS authors",
        normal="sep5@1 sep3@0 | sep5@0 sep3@0 | avg@1 skip@0 | avg@0 avg@0 | sep3@1 skip@1",
        reduce="sep5@1 sep7@0 | max@1 sep7@0 | avg@1 sep5@0 | skip@3 avg@2 | sep3@2 max@1",
        normal_concat=(2, 3, 4, 5, 6),
        reduce_concat=(4, 5, 6),
    ),
    "AmoebaNet": _published(
        "AmoebaNet-A (Real et al., AAAI 2019), as listed by the DARTS authors",
        normal="avg@0 max@1 | sep3@0 sep5@2 | sep3@0 avg@3 | sep3@1 skip@1 | skip@0 avg@1",
        reduce="avg@0 sep3@1 | max@0 sep7@2 | sep7@0 avg@1 | max@0 max@1 | 7x1@0 sep3@5",
        normal_concat=(4, 5, 6),
        reduce_concat=(3, 4, 6),
    ),
}
"""Published genotypes, by name."""
