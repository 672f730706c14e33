"""Read the search space that a genotype file names."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Mapping
from typing import Any, TypedDict

from nas_lightning.architecture.space import Cell, Edge, SearchSpace
from nas_lightning.errors import ContentError, GenotypeError, UsageError
from nas_lightning.imports import import_object
from nas_lightning.schema import is_readable, read_value
from nas_lightning.text import one_line, shown

PATH = "$.space"
ARGUMENTS = f"{PATH}.init_args"
LINE = 200
"""Characters of a reason."""


class _Cell(TypedDict):
    """A recorded cell; see `Cell`."""

    kind: str
    inputs: int
    edges: list[list[int]]
    primitives: list[str]
    last_node_only: bool


class _Arguments(TypedDict):
    """The arguments of a space without a subclass; see `SearchSpace`."""

    name: str
    cells: list[_Cell]
    inputs_per_node: int | None
    known_primitives: list[str]
    excluded: list[str]


VERSION_1 = {
    "darts": "nas_lightning.spaces.darts.DartsSpace",
    "darts_individual_LAYERS": "nas_lightning.spaces.darts.IndividualDartsSpace",
    "darts_recurrent": "nas_lightning.spaces.recurrent.RecurrentSpace",
    "nas_bench_201": "nas_lightning.spaces.nas_bench_201.NasBench201Space",
    "reconstruction": "nas_lightning.spaces.reconstruction.ReconstructionSpace",
}
"""Import paths of the spaces that files of version 1 name."""


def read_space(data: Any) -> SearchSpace:
    """Build the space that a genotype file names.

    Args:
        data: `{"class_path": …, "init_args": …}`, or the name of a shipped space in files of
            version 1.

    Raises:
        GenotypeError: The class cannot be imported, is not a search space, or refuses its
            arguments.
    """
    if isinstance(data, str):
        return named_space(data)
    if not isinstance(data, Mapping) or not isinstance(data.get("class_path"), str):
        raise GenotypeError("expected the class_path of a search space", PATH)
    arguments = data.get("init_args", {})
    if not isinstance(arguments, Mapping):
        raise GenotypeError("expected an object", ARGUMENTS)
    found = _import(data["class_path"])
    if not (isinstance(found, type) and issubclass(found, SearchSpace)):
        raise GenotypeError(
            f"{shown(data['class_path'])} is not a search space", f"{PATH}.class_path"
        )
    try:
        _check_arguments(found, arguments)
        space = _from_cells(arguments) if found is SearchSpace else found(**arguments)
    except ContentError as error:
        raise GenotypeError(error.reason, error.path) from error
    except (TypeError, ValueError, LookupError, AttributeError, UsageError) as error:
        raise GenotypeError(f"{found.__name__}: {one_line(str(error), LINE)}", ARGUMENTS) from error
    return space


def _check_arguments(kind: type[SearchSpace], arguments: Mapping[str, Any]) -> None:
    """Check names and types of the arguments of a space, as far as its hints tell.

    Raises:
        ContentError: One is missing, unknown or of another type.
    """
    if kind is SearchSpace:
        read_value(_Arguments, arguments, ARGUMENTS)
        return
    parameters = inspect.signature(kind).parameters
    hints = typing.get_type_hints(kind.__init__)
    for name in arguments:
        if name not in parameters:
            raise ContentError(f"{kind.__name__} has no argument {shown(name)}", ARGUMENTS)
    for name, parameter in parameters.items():
        if name in arguments and is_readable(hints.get(name, Any)):
            read_value(hints.get(name, Any), arguments[name], f"{ARGUMENTS}.{name}")
        elif name not in arguments and parameter.default is parameter.empty:
            raise ContentError(f"the key {name!r} is missing", ARGUMENTS)


def named_space(name: str) -> SearchSpace:
    """Build a shipped space from its name, with its default arguments.

    Raises:
        GenotypeError: No shipped space has this name.
    """
    layers = re.fullmatch(r"darts_individual_([1-9]\d?)", name)
    key = "darts_individual_LAYERS" if layers else name
    if key not in VERSION_1 or name == "darts_individual_LAYERS":
        known = ", ".join(VERSION_1)
        raise GenotypeError(f"unknown search space {shown(name)}; known: {known}", PATH)
    space: SearchSpace = _import(VERSION_1[key])(**({"layers": int(layers[1])} if layers else {}))
    return space


def _from_cells(arguments: Mapping[str, Any]) -> SearchSpace:
    """Build a `SearchSpace` without a subclass, from its recorded cells."""
    cells = []
    for i, cell in enumerate(arguments["cells"]):
        edges = tuple(_edge(edge, f"{ARGUMENTS}.cells[{i}].edges") for edge in cell["edges"])
        cells.append(Cell(**{**cell, "edges": edges, "primitives": tuple(cell["primitives"])}))
    if not cells or len({cell.kind for cell in cells}) < len(cells):
        raise ContentError("expected at least one cell, each of its own kind", f"{ARGUMENTS}.cells")
    return SearchSpace(**{**arguments, "cells": cells})


def _edge(found: list[int], path: str) -> Edge:
    if len(found) != 2 or not 0 <= found[0] < found[1]:
        raise ContentError(f"expected an edge [source, target], found {shown(found)}", path)
    return Edge(*found)


def _import(path: str) -> Any:
    try:
        return import_object(path)
    except UsageError as error:
        raise GenotypeError(str(error), f"{PATH}.class_path") from error
