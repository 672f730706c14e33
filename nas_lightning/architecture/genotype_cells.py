"""The discrete cells of a genotype, and their JSON forms.

A cell of several edges lists its nodes. A choice, a cell of one edge, is the name of its candidate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas_lightning.architecture.space import MOST_NODES, SearchSpace
from nas_lightning.errors import GenotypeError
from nas_lightning.text import few, shown


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


Cells = Mapping[str, CellGenotype]
"""Cells by kind."""


def cells_form(space: SearchSpace, cells: Cells) -> dict[str, Any]:
    """Return the entry `cells` of the JSON form, or `choices` in a space of choices."""
    if space.of_choices:
        return {"choices": chosen_candidates(cells)}
    return {
        "cells": {
            kind: {
                "nodes": [
                    [{"primitive": i.primitive, "source": i.source} for i in node]
                    for node in cell.nodes
                ],
                "concat": list(cell.concat),
            }
            for kind, cell in cells.items()
        }
    }


def chosen_candidates(cells: Cells) -> dict[str, str]:
    """Return the candidate of each choice, for cells of one edge."""
    return {kind: cell.nodes[0][0].primitive for kind, cell in cells.items()}


def candidate_cell(candidate: str) -> CellGenotype:
    """Return the cell of a choice, which is the edge from its only input to its only node."""
    return CellGenotype(((NodeInput(candidate, 0),),), (1,), inputs=1)


def read_cells(root: Mapping[str, Any], space: SearchSpace) -> dict[str, CellGenotype]:
    """Read the cells of a JSON form.

    Args:
        root: The JSON form.
        space: Space of the cells.

    Raises:
        GenotypeError: They are malformed or not cells of the space.
    """
    if space.of_choices:
        return _read_choices(expect(root.get("choices"), dict, "$.choices"), space)
    cells = expect(root.get("cells"), dict, "$.cells")
    if set(cells) != set(space.kinds):
        reason = f"expected the cell kinds {shown(list(space.kinds))}, found {shown(sorted(cells))}"
        raise GenotypeError(reason, "$.cells")
    return {
        cell.kind: _read_cell(cells[cell.kind], cell.inputs, space, f"$.cells.{cell.kind}")
        for cell in space.cells
    }


def _read_choices(found: Mapping[str, Any], space: SearchSpace) -> dict[str, CellGenotype]:
    for name in found:
        if name not in space.kinds:
            reason = f"{shown(space.name)} has no choice {shown(name)}; it has {few(space.kinds)}"
            raise GenotypeError(reason, "$.choices")
    read = {}
    for cell in space.cells:
        path = f"$.choices.{cell.kind}"
        known = few(cell.primitives)
        if cell.kind not in found:
            raise GenotypeError(f"the choice is missing; its candidates are {known}", path)
        candidate = expect(found[cell.kind], str, path)
        if candidate not in cell.primitives:
            reason = f"unknown candidate {shown(candidate)}; the choice has {known}"
            raise GenotypeError(reason, path)
        read[cell.kind] = candidate_cell(candidate)
    return read


def expect(value: object, kind: type, path: str) -> Any:
    """Return `value` if it has the JSON type `kind`. A boolean is not an integer."""
    names = {dict: "an object", list: "an array", str: "a string", int: "an integer"}
    if not isinstance(value, kind) or isinstance(value, bool):
        raise GenotypeError(f"expected {names[kind]}, found {shown(value)}", path)
    return value


def finite(value: Any, path: str) -> Any:
    """Return mixing weights if no number in them is nan or infinite."""
    if isinstance(value, float) and not math.isfinite(value):
        raise GenotypeError(f"expected a finite number, found {value}", path)
    if isinstance(value, dict):
        return {key: finite(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item, f"{path}[{index}]") for index, item in enumerate(value)]
    return value


def _read_cell(data: object, inputs: int, space: SearchSpace, path: str) -> CellGenotype:
    cell = expect(data, dict, path)
    nodes = expect(cell.get("nodes"), list, f"{path}.nodes")
    if not 1 <= len(nodes) <= MOST_NODES:
        reason = f"a cell has 1 to {MOST_NODES} nodes, found {len(nodes):,}"
        raise GenotypeError(reason, f"{path}.nodes")
    read = tuple(
        _read_node(node, inputs + index, space, f"{path}.nodes[{index}]")
        for index, node in enumerate(nodes)
    )
    concat = expect(cell.get("concat"), list, f"{path}.concat")
    last = inputs + len(read) - 1
    for i, state in enumerate(concat):
        if not inputs <= expect(state, int, f"{path}.concat[{i}]") <= last:
            reason = f"expected a node, {inputs} to {last}, found {shown(state)}"
            raise GenotypeError(reason, f"{path}.concat[{i}]")
    if not concat or len(set(concat)) != len(concat):
        raise GenotypeError("must name at least one node, and no node twice", f"{path}.concat")
    return CellGenotype(read, tuple(concat), inputs)


def _read_node(data: object, state: int, space: SearchSpace, path: str) -> tuple[NodeInput, ...]:
    read = []
    items = expect(data, list, path)
    # NASNet has equal edges, so that they are no error
    if len(items) > (most := state * len(space.known_primitives)):
        reason = f"{most} edges can end in this node, one for each state and operation"
        raise GenotypeError(f"{reason}, found {len(items):,}", path)
    for i, item in enumerate(items):
        entry = expect(item, dict, f"{path}[{i}]")
        primitive = expect(entry.get("primitive"), str, f"{path}[{i}].primitive")
        if primitive not in space.known_primitives:
            known = ", ".join(sorted(space.known_primitives))
            reason = f"unknown primitive {shown(primitive)} in space {space.name!r}; known: {known}"
            raise GenotypeError(reason, f"{path}[{i}].primitive")
        source = expect(entry.get("source"), int, f"{path}[{i}].source")
        if not 0 <= source < state:
            reason = f"this node may read states 0 to {state - 1}, found {shown(source)}"
            raise GenotypeError(reason, f"{path}[{i}].source")
        read.append(NodeInput(primitive, source))
    return tuple(read)
