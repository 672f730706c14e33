"""The weights of single operations: which parameters of a supernet belong to which of them."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from nas_lightning.architecture import Cell, SearchSpace
from nas_lightning.layers.choice import Choice, choices_of
from nas_lightning.supernet.widening import WideningEdges

Named = list[tuple[str, list[nn.Module]]]
"""The operations of an edge in their order: name and the modules that compute it."""


@dataclass(frozen=True)
class OwnWeights:
    """An operation on an edge of a cell, and the weights that it shares with no other operation.

    Attributes:
        kind: Kind of the cell.
        number: Number of cells of this kind before it.
        edge: Name of the edge, such as `0-2`.
        operation: Name of the operation.
        names: Names of its parameters in the supernet.
    """

    kind: str
    number: int
    edge: str
    operation: str
    names: tuple[str, ...]


def own_weights(supernet: nn.Module, space: SearchSpace) -> list[OwnWeights]:
    """Return the operations of a supernet that have weights of their own, in a fixed order.

    An operation inside of a candidate, in a nested choice, has the weights there; the candidate has
    the others. With edges that widen, an operation has the narrow and the wide weights.

    Args:
        supernet: Has choices, or modules with a `Cell` as `cell` and a list `edges` of mixed edges
            or of dictionaries of operations.
        space: Its search space.
    """
    names = {id(value): name for name, value in supernet.named_parameters()}
    found = [
        (place, operation, [id(value) for module in modules for value in _outside_choices(module)])
        for place, operations in _edges(supernet, space)
        for operation, modules in operations
    ]
    users = Counter(itertools.chain.from_iterable(set(ids) for _, _, ids in found))
    own = [
        OwnWeights(*place, operation, tuple(names[i] for i in ids if users[i] == 1))
        for place, operation, ids in found
    ]
    return [each for each in own if each.names]


def _edges(supernet: nn.Module, space: SearchSpace) -> Iterator[tuple[tuple[str, int, str], Named]]:
    """Yield each edge as kind, number of the cell and name, with its operations."""
    if space.of_choices:
        # the space has them in the order of the modules
        for choices, group in zip(space.cells, choices_of(supernet).values(), strict=True):
            for number, choice in enumerate(group):
                operations = [(name, [module]) for name, module in choice.candidates.items()]
                yield (choices.kind, number, str(choices.edges[0])), operations
        return
    before: dict[str, int] = defaultdict(int)
    for module in supernet.modules():
        cell, edges = getattr(module, "cell", None), getattr(module, "edges", None)
        if not isinstance(cell, Cell) or not isinstance(edges, (nn.ModuleList, WideningEdges)):
            continue
        for edge, versions in zip(cell.edges, _versions(edges), strict=True):
            yield (cell.kind, before[cell.kind], str(edge)), _operations(versions)
        before[cell.kind] += 1


def _versions(edges: Any) -> list[tuple[nn.Module, ...]]:
    """Return the modules that compute each edge: one, or a narrow and a wide one."""
    if isinstance(edges, WideningEdges):
        return list(zip(edges.narrow, edges.wide, strict=True))
    return [(edge,) for edge in edges]


def _operations(versions: Sequence[nn.Module]) -> Named:
    """Return the operations of an edge, without those that strategies added to the space's."""
    each = [_named(edge) for edge in versions]
    return [(same[0][0], [module for _, module in same]) for same in zip(*each, strict=True)]


def _named(edge: nn.Module) -> list[tuple[str, nn.Module]]:
    if isinstance(edge, nn.ModuleDict):
        return list(edge.items())
    mixed = getattr(edge, "mixed", None)
    return list(zip(mixed.primitives, mixed.ops, strict=False)) if mixed is not None else []


def _outside_choices(module: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters of a module that are not inside of a choice."""
    if not isinstance(module, Choice):
        yield from module.parameters(recurse=False)
        for child in module.children():
            yield from _outside_choices(child)
