"""Architecture strings of NAS-Bench-201, such as `|skip_connect~0|+|none~0|nor_conv_3x3~1|+…`."""

from __future__ import annotations

import re

from nas_lightning.architecture.genotype import Genotype
from nas_lightning.architecture.genotype_cells import CellGenotype, NodeInput
from nas_lightning.errors import GenotypeError
from nas_lightning.spaces.nas_bench_201.space import NasBench201Space
from nas_lightning.text import shown

LONGEST = 100_000
"""Characters of a text that is searched."""


def find_string(text: str) -> str | None:
    """Return the architecture string in a text, or `None` if it holds none."""
    if text.lstrip().startswith("|"):
        return text.strip()
    found = re.search(r"(?:\|\w+~\d)+\|\+\S*", text[:LONGEST])
    return None if found is None else found[0].rstrip(").,;'\"")


def from_string(text: str) -> Genotype:
    """Read an architecture string.

    Raises:
        GenotypeError: The string is malformed, or does not have three nodes with all their edges.
    """
    space = NasBench201Space()
    (cell,) = space.cells
    nodes = []
    for target, part in zip(cell.nodes, text.split("+"), strict=False):
        if not re.fullmatch(r"\|(\w+~\d\|)+", part):
            raise _wrong(f"expected |operation~source|…|, found {shown(part)}", target)
        pairs = [item.split("~") for item in part.strip("|").split("|")]
        sources = [int(source) for _, source in pairs]
        if sources != list(range(target)):
            raise _wrong(f"expected the sources {list(range(target))}, found {sources}", target)
        for name, _ in pairs:
            if name not in space.known_primitives:
                known = ", ".join(sorted(space.known_primitives))
                raise _wrong(f"unknown operation {shown(name)}; known: {known}", target)
        nodes.append(tuple(NodeInput(name, int(source)) for name, source in pairs))
    if (found := text.count("+") + 1) != len(cell.nodes):
        raise _wrong(f"expected {len(cell.nodes)} nodes joined by +, found {found}", found)
    cells = {cell.kind: CellGenotype(tuple(nodes), cell.concat, cell.inputs)}
    return Genotype(space, cells, provenance={"source": "architecture string"})


def to_string(genotype: Genotype) -> str:
    """Return the architecture string of a genotype; edges without an operation are `none`.

    Raises:
        GenotypeError: The genotype belongs to another space, or has two operations on one edge.
    """
    if not isinstance(genotype.space, NasBench201Space):
        raise GenotypeError("only 'nas_bench_201' has architecture strings", "$.space")
    (cell,) = genotype.cells.values()
    parts = []
    for target, node in enumerate(cell.nodes, start=1):
        ops = {kept.source: kept.primitive for kept in node}
        if len(ops) < len(node):
            raise GenotypeError(f"node {target} has two operations on one edge", "$.cells")
        row = "".join(f"{ops.get(source, 'none')}~{source}|" for source in range(target))
        parts.append(f"|{row}")
    return "+".join(parts)


def _wrong(reason: str, node: int) -> GenotypeError:
    return GenotypeError(reason, f"node {node}", file="the architecture string")
