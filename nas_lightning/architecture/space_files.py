"""Read the search space that a genotype file names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nas_lightning.architecture.space import Cell, Edge, SearchSpace
from nas_lightning.errors import GenotypeError, UsageError
from nas_lightning.imports import import_object

PATH = "$.space"

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
        raise GenotypeError("expected an object", f"{PATH}.init_args")
    found = _import(data["class_path"])
    if not (isinstance(found, type) and issubclass(found, SearchSpace)):
        raise GenotypeError(f"{data['class_path']} is not a search space", f"{PATH}.class_path")
    try:
        space = _from_cells(arguments) if found is SearchSpace else found(**arguments)
    except (TypeError, ValueError, LookupError, UsageError) as error:
        reason = " ".join(str(error).split())
        raise GenotypeError(f"{found.__name__}: {reason}", f"{PATH}.init_args") from error
    return space


def named_space(name: str) -> SearchSpace:
    """Build a shipped space from its name, with its default arguments.

    Raises:
        GenotypeError: No shipped space has this name.
    """
    layers = re.fullmatch(r"darts_individual_([1-9]\d?)", name)
    key = "darts_individual_LAYERS" if layers else name
    if key not in VERSION_1 or name == "darts_individual_LAYERS":
        known = ", ".join(VERSION_1)
        raise GenotypeError(f"unknown search space {name!r}; known: {known}", PATH)
    space: SearchSpace = _import(VERSION_1[key])(**({"layers": int(layers[1])} if layers else {}))
    return space


def _from_cells(arguments: Mapping[str, Any]) -> SearchSpace:
    """Build a `SearchSpace` without a subclass, from its recorded cells."""
    cells = [
        Cell(
            **{
                **cell,
                "edges": tuple(Edge(*edge) for edge in cell["edges"]),
                "primitives": tuple(cell["primitives"]),
            }
        )
        for cell in arguments["cells"]
    ]
    return SearchSpace(**{**arguments, "cells": cells})


def _import(path: str) -> Any:
    try:
        return import_object(path)
    except UsageError as error:
        raise GenotypeError(str(error), f"{PATH}.class_path") from error
