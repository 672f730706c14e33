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
