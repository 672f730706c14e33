"""DARTS cells as the 34 categories that the surrogates of NAS-Bench-301 take.

A cell has a category for each of its 14 edges, the operation or `#na#`, and one for the two inputs
of each of nodes 3 to 5, such as `0_2`. Nodes are numbered from 2; 0 and 1 are the inputs of the
cell. Node 2 always has the inputs 0 and 1. The edges of nodes 2, 3, 4 and 5 are 0 to 1, 2 to 4,
5 to 8 and 9 to 13, in the order of their inputs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from nas_lightning.architecture import CellGenotype, Genotype
from nas_lightning.errors import DataError, UsageError
from nas_lightning.schema import read_file
from nas_lightning.text import few, shown

NODES = 4
KINDS = ("normal", "reduce")
ABSENT = "#na#"
PREFIX = "NetworkSelectorDatasetInfo_COLON_darts_COLON_"
PATTERN = "*encoding.json"
"""Name of the encoding's file where none is named."""


class Encoding:
    """The number of each category of each variable.

    The variables are in the order of their names, where numbers in names are compared as numbers:
    edge 2 comes before edge 10.

    Args:
        categories: Number of each category, by name of the variable.
        source: Their file, for messages.

    Raises:
        DataError: These are not the variables of two cells with four nodes.
    """

    def __init__(self, categories: Mapping[str, Mapping[str, int]], source: str) -> None:
        self.source = source
        self.categories = {
            name.removeprefix(PREFIX): dict(categories[name])
            for name in sorted(categories, key=_natural)
        }
        if set(self.categories) != set(_variables()):
            raise DataError(
                f"{source} is not the encoding of NAS-Bench-301: it needs "
                f"{len(_variables())} variables such as {PREFIX}edge_normal_0"
            )
        for name, numbers in self.categories.items():
            if ABSENT not in numbers or sorted(numbers.values()) != list(range(len(numbers))):
                raise DataError(
                    f"{source}: {name} needs the category {ABSENT!r} and the numbers from 0 on"
                )

    @classmethod
    def load(cls, path: Path) -> Encoding:
        """Read the JSON file that belongs to a surrogate.

        Raises:
            DataError: It is the encoding of something else.
            NASError: It cannot be read or is malformed.
        """
        return cls(read_file(dict[str, dict[str, int]], path), str(path))

    @classmethod
    def beside(cls, model: Path) -> Encoding:
        """Read the only file `*encoding.json` in the folder of a surrogate.

        Raises:
            UsageError: There is none, or more than one.
            NASError: It cannot be read or is malformed.
        """
        found = sorted(model.parent.glob(PATTERN))
        if len(found) != 1:
            names = f": {few([path.name for path in found])}" if found else ""
            raise UsageError(
                f"{model} needs its encoding: {len(found)} files {PATTERN} are beside it{names}; "
                f"name it by --encoding FILE"
            )
        return cls.load(found[0])

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of categories of each variable (34,)."""
        return tuple(map(len, self.categories.values()))

    def encode(self, genotype: Genotype) -> list[int]:
        """Return the number of each variable's category (34,).

        Raises:
            UsageError: The surrogates do not know such cells.
        """
        if set(genotype.cells) != set(KINDS):
            raise UsageError(
                f"the surrogate takes a normal and a reduction cell of the DARTS space, found a "
                f"genotype of the space {genotype.space.name!r}"
            )
        chosen: dict[str, str] = {}
        for kind in KINDS:
            chosen |= _chosen(kind, genotype.cells[kind])
        return [self._number(name, chosen.get(name, ABSENT)) for name in self.categories]

    def _number(self, variable: str, category: str) -> int:
        numbers = self.categories[variable]
        if category not in numbers:
            known = ", ".join(name for name in numbers if name != ABSENT)
            raise UsageError(
                f"the surrogate does not know {shown(category)} ({variable}); it knows {known}"
            )
        return numbers[category]


def _chosen(kind: str, cell: CellGenotype) -> dict[str, str]:
    """Return the categories of a cell that are not absent, by variable.

    Raises:
        UsageError: The cell has another form.
    """
    if len(cell.nodes) != NODES or cell.inputs != 2:
        raise UsageError(
            f"the surrogate takes cells of {NODES} nodes and 2 inputs, found {len(cell.nodes)} "
            f"nodes and {cell.inputs} inputs in the cell {kind!r}"
        )
    if sorted(cell.concat) != list(range(2, 2 + NODES)):
        raise UsageError(
            f"the surrogate takes cells whose output is all {NODES} nodes, found the states "
            f"{', '.join(map(str, cell.concat))} in the cell {kind!r}"
        )
    chosen = {}
    offset = 0
    for node, edges in enumerate(cell.nodes, start=2):
        sources = sorted(edge.source for edge in edges)
        if len(set(sources)) != 2 or len(sources) != 2:
            raise UsageError(
                f"the surrogate takes nodes with 2 different inputs, found "
                f"{', '.join(map(str, sources)) or 'none'} at node {node} of the cell {kind!r}"
            )
        for edge in edges:
            chosen[f"edge_{kind}_{offset + edge.source}"] = edge.primitive
        if node > 2:
            chosen[f"inputs_node_{kind}_{node}"] = "_".join(map(str, sources))
        offset += node
    return chosen


def _variables() -> list[str]:
    """Return the names of the variables, without the prefix."""
    edges = range(sum(range(2, 2 + NODES)))
    return [
        *(f"edge_{kind}_{i}" for kind in KINDS for i in edges),
        *(f"inputs_node_{kind}_{n}" for kind in KINDS for n in range(3, 2 + NODES)),
    ]


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in names as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
