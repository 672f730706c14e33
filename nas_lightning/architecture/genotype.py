"""Genotypes: the cells that a search finds and a retraining reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_lightning.architecture.space import MOST_NODES, SearchSpace
from nas_lightning.architecture.space_files import read_space
from nas_lightning.errors import GenotypeError
from nas_lightning.files import write_text
from nas_lightning.text import shown
from nas_lightning.text_files import read_json

FORMAT = "nas-lightning genotype"
VERSION = 2
"""Version 2 stores the import path and arguments of the space; version 1 stores its name only."""


@dataclass(frozen=True)
class NodeInput:
    """A kept edge: the operation `primitive` applied to state `source`."""

    primitive: str
    source: int


@dataclass(frozen=True)
class CellGenotype:
    """A discrete cell.

    Attributes:
        nodes: Kept edges of each intermediate node, strongest first. A node without edges is zero.
        concat: States that form the cell's output. The space decides if they are concatenated or
            averaged, or if there is only one. State `i < inputs` is input i of the cell, and
            `inputs + i` is node i.
        inputs: Number of inputs. Files do not store it, since the space defines it.
    """

    nodes: tuple[tuple[NodeInput, ...], ...]
    concat: tuple[int, ...]
    inputs: int = 2


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

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "space": {"name": self.space.name, **self.space.to_config()},
            "cells": {
                kind: {
                    "nodes": [
                        [{"primitive": i.primitive, "source": i.source} for i in node]
                        for node in cell.nodes
                    ],
                    "concat": list(cell.concat),
                }
                for kind, cell in self.cells.items()
            },
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
        root = _expect(data, dict, "$")
        if root.get("format") != FORMAT:
            raise GenotypeError(
                f"expected {FORMAT!r}, found {shown(root.get('format'))}", "$.format"
            )
        version = root.get("version")
        if type(version) is not int or not 1 <= version <= VERSION:
            reason = f"this release reads versions 1 to {VERSION}, found {shown(version)}"
            raise GenotypeError(reason, "$.version")
        named = _expect(root.get("space"), str if version == 1 else dict, "$.space")
        found = read_space(named)
        if space is None:
            space = found
        elif found.name != space.name:
            reason = f"expected a genotype of space {space.name!r}, found {found.name!r}"
            raise GenotypeError(reason, "$.space")
        cells = _expect(root.get("cells"), dict, "$.cells")
        if set(cells) != set(space.kinds):
            reason = (
                f"expected the cell kinds {shown(list(space.kinds))}, found {shown(sorted(cells))}"
            )
            raise GenotypeError(reason, "$.cells")
        return cls(
            space=space,
            cells={
                cell.kind: _read_cell(cells[cell.kind], cell.inputs, space, f"$.cells.{cell.kind}")
                for cell in space.cells
            },
            provenance=_expect(root.get("provenance", {}), dict, "$.provenance"),
            mixing=_finite(_expect(root.get("mixing", {}), dict, "$.mixing"), "$.mixing"),
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
        """Return a text with one line per node, for terminals and TensorBoard."""
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


def state_name(state: int, inputs: int = 2) -> str:
    """Return the name of a state in the papers: `c_{k-2}`, `c_{k-1}`, then 0, 1, ….

    In a cell with a single input, that input is state 0.
    """
    if inputs == 1:
        return str(state)
    return f"c_{{k-{inputs - state}}}" if state < inputs else str(state - inputs)


def _expect(value: object, kind: type, path: str) -> Any:
    """Return `value` if it has the JSON type `kind`. A boolean is not an integer."""
    names = {dict: "an object", list: "an array", str: "a string", int: "an integer"}
    if not isinstance(value, kind) or isinstance(value, bool):
        raise GenotypeError(f"expected {names[kind]}, found {shown(value)}", path)
    return value


def _finite(value: Any, path: str) -> Any:
    """Return mixing weights if no number in them is nan or infinite."""
    if isinstance(value, float) and not math.isfinite(value):
        raise GenotypeError(f"expected a finite number, found {value}", path)
    if isinstance(value, dict):
        return {key: _finite(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item, f"{path}[{index}]") for index, item in enumerate(value)]
    return value


def _read_cell(data: object, inputs: int, space: SearchSpace, path: str) -> CellGenotype:
    cell = _expect(data, dict, path)
    nodes = _expect(cell.get("nodes"), list, f"{path}.nodes")
    if not 1 <= len(nodes) <= MOST_NODES:
        reason = f"a cell has 1 to {MOST_NODES} nodes, found {len(nodes):,}"
        raise GenotypeError(reason, f"{path}.nodes")
    read = tuple(
        _read_node(node, inputs + index, space, f"{path}.nodes[{index}]")
        for index, node in enumerate(nodes)
    )
    concat = _expect(cell.get("concat"), list, f"{path}.concat")
    last = inputs + len(read) - 1
    for i, state in enumerate(concat):
        if not inputs <= _expect(state, int, f"{path}.concat[{i}]") <= last:
            reason = f"expected a node, {inputs} to {last}, found {shown(state)}"
            raise GenotypeError(reason, f"{path}.concat[{i}]")
    if not concat or len(set(concat)) != len(concat):
        raise GenotypeError("must name at least one node, and no node twice", f"{path}.concat")
    return CellGenotype(read, tuple(concat), inputs)


def _read_node(data: object, state: int, space: SearchSpace, path: str) -> tuple[NodeInput, ...]:
    read = []
    items = _expect(data, list, path)
    # NASNet has equal edges, so that they are no error
    if len(items) > (most := state * len(space.known_primitives)):
        reason = f"{most} edges can end in this node, one for each state and operation"
        raise GenotypeError(f"{reason}, found {len(items):,}", path)
    for i, item in enumerate(items):
        entry = _expect(item, dict, f"{path}[{i}]")
        primitive = _expect(entry.get("primitive"), str, f"{path}[{i}].primitive")
        if primitive not in space.known_primitives:
            known = ", ".join(sorted(space.known_primitives))
            reason = f"unknown primitive {shown(primitive)} in space {space.name!r}; known: {known}"
            raise GenotypeError(reason, f"{path}[{i}].primitive")
        source = _expect(entry.get("source"), int, f"{path}[{i}].source")
        if not 0 <= source < state:
            reason = f"this node may read states 0 to {state - 1}, found {shown(source)}"
            raise GenotypeError(reason, f"{path}[{i}].source")
        read.append(NodeInput(primitive, source))
    return tuple(read)


def _to_text(value: object, indent: int = 0) -> str:
    """Return JSON with each list or object of plain values on one line."""
    items = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(items, list) or not any(isinstance(i, dict | list) for i in items):
        return json.dumps(value)
    start = "\n" + " " * (indent + 1)
    parts = [_to_text(item, indent + 1) for item in items]
    if isinstance(value, dict):
        parts = [f"{json.dumps(str(key))}: {part}" for key, part in zip(value, parts, strict=True)]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return left + start + f",{start}".join(parts) + "\n" + " " * indent + right
