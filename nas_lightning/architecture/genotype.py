"""Genotypes: the cells that a search finds and a retraining reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nas_lightning.architecture.genotype_cells import (
    CellGenotype,
    cells_form,
    chosen_candidates,
    expect,
    finite,
    read_cells,
)
from nas_lightning.architecture.space import SearchSpace
from nas_lightning.architecture.space_files import read_space
from nas_lightning.errors import GenotypeError
from nas_lightning.files import write_text
from nas_lightning.text import shown
from nas_lightning.text_files import read_json

FORMAT = "nas-lightning genotype"
VERSION = 2
"""Version 2 stores the import path and arguments of the space; version 1 stores its name only."""
LINE = 80
"""Characters of an object on one line; a longer one, such as many choices, has a line an entry."""


@dataclass(frozen=True, eq=False)
class Genotype:
    """A discrete architecture.

    Two genotypes are equal if their cells and the names of their spaces are equal. Provenance
    and mixing weights are kept for reports and are not compared.

    Attributes:
        space: The search space.
        cells: The cells, by kind.
        provenance: Origin of the genotype: run directory, epoch, seed, strategies, version.
        mixing: Mixing weights from which it was derived: `{kind: {"ops": (E, O), "edges": (E,)}}`.
    """

    space: SearchSpace
    cells: Mapping[str, CellGenotype]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    mixing: Mapping[str, Any] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Return True if the names of the spaces and the cells are equal."""
        if not isinstance(other, Genotype):
            return NotImplemented
        return self.space.name == other.space.name and self.cells == other.cells

    __hash__ = None  # type: ignore[assignment] # cells are a mapping

    def with_provenance(self, entries: Mapping[str, Any]) -> Genotype:
        """Return the genotype with more entries in its provenance."""
        return replace(self, provenance={**self.provenance, **entries}) if entries else self

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "space": {"name": self.space.name, **self.space.to_config()},
            **cells_form(self.space, self.cells),
            "provenance": dict(self.provenance),
            "mixing": dict(self.mixing),
        }

    @classmethod
    def from_dict(cls, data: object, space: SearchSpace | None = None) -> Genotype:
        """Read the JSON form, of this version or an earlier one.

        Args:
            data: Parsed JSON.
            space: Expected space; by default the one that the data names.

        Raises:
            GenotypeError: The data is malformed or belongs to another space. The error names the
                JSON path.
        """
        root = expect(data, dict, "$")
        if root.get("format") != FORMAT:
            raise GenotypeError(
                f"expected {FORMAT!r}, found {shown(root.get('format'))}", "$.format"
            )
        version = root.get("version")
        if type(version) is not int or not 1 <= version <= VERSION:
            reason = f"this release reads versions 1 to {VERSION}, found {shown(version)}"
            raise GenotypeError(reason, "$.version")
        named = expect(root.get("space"), str if version == 1 else dict, "$.space")
        found = read_space(named)
        if space is None:
            space = found
        elif found.name != space.name:
            reason = f"expected a genotype of space {space.name!r}, found {found.name!r}"
            raise GenotypeError(reason, "$.space")
        return cls(
            space=space,
            cells=read_cells(root, space),
            provenance=expect(root.get("provenance", {}), dict, "$.provenance"),
            mixing=finite(expect(root.get("mixing", {}), dict, "$.mixing"), "$.mixing"),
        )

    def save(self, path: Path | str) -> None:
        """Write the JSON form to a file atomically."""
        write_text(Path(path), _to_text(self.to_dict()) + "\n")

    @classmethod
    def load(cls, path: Path | str, space: SearchSpace | None = None) -> Genotype:
        """Read a genotype file.

        Raises:
            GenotypeError: The content is not a valid genotype.
            NASError: The file cannot be read or is not JSON.
        """
        try:
            return cls.from_dict(read_json(path), space)
        except GenotypeError as error:
            raise GenotypeError(error.reason, error.path, file=str(path)) from None

    def __str__(self) -> str:
        """Return a text with one line for each node or choice, for terminals and TensorBoard."""
        if self.space.of_choices:
            width = max(map(len, self.cells))
            chosen = chosen_candidates(self.cells)
            return "\n".join(f"{kind:<{width}}  {name}" for kind, name in chosen.items())
        lines = []
        for kind, cell in self.cells.items():
            lines.append(f"{kind} cell")

            def name(state: int, inputs: int = cell.inputs) -> str:
                return state_name(state, inputs)

            for target, node in enumerate(cell.nodes, start=cell.inputs):
                inputs = " + ".join(f"{i.primitive}({name(i.source)})" for i in node)
                lines.append(f"  {name(target)} = {inputs or 'zero'}")
            lines.append(f"  output = {', '.join(map(name, cell.concat))}")
        return "\n".join(lines)

    def count(self, primitive: str, kind: str) -> int:
        """Return the number of edges with a given operation in the cell of a kind."""
        return sum(i.primitive == primitive for node in self.cells[kind].nodes for i in node)

    def skips(self, kind: str) -> int:
        """Return the number of edges with a skip connection in the cell of a kind."""
        nodes = self.cells[kind].nodes
        return sum(self.space.is_skip(kind, i.primitive) for node in nodes for i in node)


def state_name(state: int, inputs: int = 2) -> str:
    """Return the name of a state in the papers: `c_{k-2}`, `c_{k-1}`, then 0, 1, ….

    In a cell with a single input, that input is state 0.
    """
    if inputs == 1:
        return str(state)
    return f"c_{{k-{inputs - state}}}" if state < inputs else str(state - inputs)


def _to_text(value: object, indent: int = 0) -> str:
    """Return JSON with each list or short object of plain values on one line."""
    items = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(items, list) or not any(isinstance(i, dict | list) for i in items):
        line = json.dumps(value)
        if not isinstance(value, dict) or len(line) <= LINE:
            return line
    assert isinstance(items, list)
    start = "\n" + " " * (indent + 1)
    parts = [_to_text(item, indent + 1) for item in items]
    if isinstance(value, dict):
        parts = [f"{json.dumps(str(key))}: {part}" for key, part in zip(value, parts, strict=True)]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return left + start + f",{start}".join(parts) + "\n" + " " * indent + right
