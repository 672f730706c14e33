"""Genotypes as text: `Genotype(normal=[…], …)`, as DARTS and the code that followed it print them.

The text is parsed, never evaluated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from nas_lightning.architecture.genotype import FORMAT, VERSION, Genotype
from nas_lightning.architecture.space import SearchSpace
from nas_lightning.errors import GenotypeError
from nas_lightning.text import shown

START = re.compile(r"\bGenotype\s*\(")
LONGEST = 100_000
"""Characters of a text."""
FILE = "the text of the genotype"
Edge = dict[str, Any]


def read_call(text: str) -> dict[str, Any] | None:
    """Return the arguments of the call of `Genotype` in a text, by name.

    Args:
        text: The call, alone or within a line of a program or a log.

    Returns:
        The arguments: lists for lists, tuples and ranges. `None` for a text without such a call.

    Raises:
        GenotypeError: There are several calls, or an argument is no plain value.
    """
    starts = [found.start() for found in START.finditer(text[:LONGEST])]
    if not starts:
        return None
    if len(starts) > 1 or len(text) > LONGEST:
        found = f"{len(starts)} genotypes" if len(starts) > 1 else f"{len(text):,} characters"
        raise _wrong(f"it holds {found}: keep the one that is meant")
    try:
        call = ast.parse(_until_closed(text[starts[0] :]), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _wrong("expected Genotype(name=value, …), as a Python program has it") from error
    if not isinstance(call, ast.Call) or call.args:
        raise _wrong("expected arguments with names, such as normal=[…]")
    return {str(argument.arg): _value(argument.value) for argument in call.keywords}


def _until_closed(text: str) -> str:
    """Return a text until its first bracket is closed."""
    depth = 0
    for end, character in enumerate(text, start=1):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == ")" and depth == 0:
            return text[:end]
    raise _wrong("a bracket is not closed")


def _value(node: ast.expr) -> Any:
    """Return a plain value; tuples and ranges become lists."""
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | None):
        return node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        arguments = [_value(item) for item in node.args]
        if node.func.id in ("list", "tuple") and len(arguments) == 1:
            return arguments[0]
        numbers = all(type(number) is int and 0 <= number < 1000 for number in arguments)
        if node.func.id == "range" and 1 <= len(arguments) <= 2 and numbers:
            return list(range(*arguments))
    raise _wrong(f"expected a list, a text or a number, found {shown(ast.unparse(node))}")


def read_edges(found: object, name: str, inputs: int, each: int) -> list[list[Edge]]:
    """Return the nodes of a cell from its edges, as the JSON form holds them.

    Args:
        found: Edges `(operation, source)` one after the other, or by node in a list each; or edges
            `(operation, target, source)`, as FairDARTS prints them. A further weight is left out.
        name: Name of the argument, for messages.
        inputs: Input states of the cell.
        each: Edges of a node, if they stand one after the other.

    Raises:
        GenotypeError: It has another form.
    """
    if not isinstance(found, list):
        raise _wrong(f"expected a list of edges, found {shown(found)}", name)
    if found and all(isinstance(node, list) and _are_edges(node) for node in found):
        return [[_edge(edge) for edge in node] for node in found]
    if not _are_edges(found):
        wrong = next((edge for edge in found if not _are_edges([edge])), found)
        raise _wrong(f"expected an edge such as ('skip_connect', 0), found {shown(wrong)}", name)
    if found and all(len(edge) == 3 and type(edge[2]) is int for edge in found):
        return _by_target(found, name, inputs)
    if len(found) % each:
        raise _wrong(f"expected {each} edges for each node, found {len(found)}", name)
    edges = [_edge(edge) for edge in found]
    return [edges[start : start + each] for start in range(0, len(edges), each)]


def _are_edges(items: Sequence[object]) -> bool:
    """Return True if all items are lists that begin with an operation and a whole number."""
    return all(
        isinstance(item, list)
        and 2 <= len(item) <= 3
        and isinstance(item[0], str)
        and type(item[1]) is int
        and isinstance(item[-1], int | float)
        for item in items
    )


def _edge(edge: list[Any]) -> Edge:
    return {"primitive": edge[0], "source": edge[1]}


def _by_target(edges: list[list[Any]], name: str, inputs: int) -> list[list[Edge]]:
    """Return the nodes of edges `(operation, target, source)`; a node may have no edge."""
    last = max(target for _, target, _ in edges)
    if min(target for _, target, _ in edges) < inputs or last > inputs + len(edges):
        raise _wrong("expected edges (operation, node, source)", name)
    nodes: list[list[Edge]] = [[] for _ in range(inputs, last + 1)]
    for operation, target, source in edges:
        nodes[target - inputs].append({"primitive": operation, "source": source})
    return nodes


def _wrong(reason: str, name: str = "") -> GenotypeError:
    return GenotypeError(reason, name or "Genotype(…)", file=FILE)


def genotype_of(cells: dict[str, Any], space: SearchSpace) -> Genotype:
    """Return the genotype of a text, once its cells have been checked.

    Args:
        cells: `{kind: {"nodes": …, "concat": …}}`, as the JSON form holds them.
        space: Its space.

    Raises:
        GenotypeError: An operation or a source is wrong, or a cell is missing.
    """
    form = {"format": FORMAT, "version": VERSION, "space": space.to_config(), "cells": cells}
    try:
        return Genotype.from_dict({**form, "provenance": {"source": "text"}}, space)
    except GenotypeError as error:
        raise GenotypeError(error.reason, error.path, file=FILE) from error
