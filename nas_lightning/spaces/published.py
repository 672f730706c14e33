"""Cells that papers published, by name.

Facts, not code: each is the list of (operation, predecessor) pairs that the authors released.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas_lightning.architecture import SearchSpace
from nas_lightning.architecture.genotype import CellGenotype, Genotype, NodeInput
from nas_lightning.errors import UsageError
from nas_lightning.spaces.nas_bench_201.strings import from_string, is_string
from nas_lightning.spaces.recurrent.space import RECURRENT_NAME

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
    return Genotype("darts", cells, provenance={"source": source})


def _recurrent(source: str, steps: str) -> Genotype:
    """Read `"sigmoid@0 relu@1 …"`: each step has one predecessor; the output is their mean."""
    pairs = [step.split("@") for step in steps.split()]
    nodes = tuple((NodeInput(activation, int(state)),) for activation, state in pairs)
    cell = CellGenotype(nodes, tuple(range(1, 1 + len(nodes))), inputs=1)
    return Genotype(RECURRENT_NAME, {"recurrent": cell}, provenance={"source": source})


PUBLISHED = {
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
    "DARTS_RNN_V1": _recurrent(
        "DARTS, recurrent cell, first order (Liu et al., ICLR 2019)",
        "relu@0 relu@1 tanh@2 relu@3 relu@4 identity@1 relu@5 relu@1",
    ),
    "DARTS_RNN_V2": _recurrent(
        "DARTS, recurrent cell, second order (Liu et al., ICLR 2019)",
        "sigmoid@0 relu@1 relu@1 identity@1 tanh@2 sigmoid@5 tanh@3 relu@5",
    ),
}
"""Published genotypes by name."""


def load_genotype(
    source: str | Path | Mapping[str, Any], space: SearchSpace | None = None
) -> Genotype:
    """A genotype from a published name, a string, a file, or the JSON form itself.

    Args:
        source: A key of `PUBLISHED`, an architecture string of NAS-Bench-201, the path of a
            genotype file, or its parsed content.
        space: The space it must belong to; by default the one that it names.

    Raises:
        UsageError: None of these.
        GenotypeError: The file or content is not a valid genotype of the space.
    """
    if isinstance(source, Mapping):
        return Genotype.from_dict(dict(source), space)
    if str(source) in PUBLISHED:
        return Genotype.from_dict(PUBLISHED[str(source)].to_dict(), space)
    if is_string(str(source)):
        return Genotype.from_dict(from_string(str(source)).to_dict(), space)
    if not Path(source).is_file():
        close = difflib.get_close_matches(str(source).upper(), [n.upper() for n in PUBLISHED], 1)
        hint = (
            f"; did you mean {next(n for n in PUBLISHED if n.upper() == close[0])}?"
            if close
            else ""
        )
        raise UsageError(
            f"no genotype {str(source)!r}: it is neither a file nor a published name "
            f"({', '.join(PUBLISHED)}){hint}"
        )
    return Genotype.load(source, space)
