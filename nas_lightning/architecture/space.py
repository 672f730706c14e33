"""Search spaces: cells, their edges, and the candidate operations on an edge."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

from nas_lightning.errors import UsageError
from nas_lightning.hparams import init_args, to_config
from nas_lightning.imports import public_path

MOST_NODES = 100
"""Largest number of nodes of a cell. Its edges grow as the square; published cells have 3 to 8."""


@dataclass(frozen=True)
class Edge:
    """A candidate edge between two states of a cell.

    States are numbered from 0: first the cell's inputs, then its intermediate nodes.
    """

    source: int
    target: int

    def __str__(self) -> str:
        """Return a short name, such as `0-2`, for the names of metrics."""
        return f"{self.source}-{self.target}"


@dataclass(frozen=True)
class Cell:
    """A searched cell.

    Row `l` of α (E, O) and element `l` of β (E,) belong to `edges[l]`; column `m` to
    `primitives[m]`.

    Attributes:
        kind: Name of the cell kind, which is the key of its α and β.
        inputs: Number of input states.
        edges: Candidate edges, sorted by target and then by source.
        primitives: Candidate operations, the same on every edge.
        last_node_only: The output is the last node instead of all nodes.
    """

    kind: str
    inputs: int
    edges: tuple[Edge, ...]
    primitives: tuple[str, ...]
    last_node_only: bool = False

    @property  # not cached: `torch.compile` traces it, and must not trace the lock of a cache
    def nodes(self) -> tuple[int, ...]:
        """State indices of the intermediate nodes."""
        return tuple(sorted({edge.target for edge in self.edges}))

    @property
    def concat(self) -> tuple[int, ...]:
        """State indices of the nodes that form the output."""
        return self.nodes[-1:] if self.last_node_only else self.nodes

    @cached_property
    def fan_in(self) -> tuple[int, ...]:
        """Number of edges into each node: lengths of consecutive segments of `edges`."""
        return tuple(len(self.incoming(node)) for node in self.nodes)

    def incoming(self, node: int) -> list[int]:
        """Return the indices into `edges` of the edges that end in state `node`."""
        return [i for i, edge in enumerate(self.edges) if edge.target == node]

    def outgoing(self, state: int) -> list[int]:
        """Return the indices into `edges` of the edges that start in a state."""
        return [i for i, edge in enumerate(self.edges) if edge.source == state]


def dense_edges(inputs: int, nodes: int, reach: int | None = None) -> tuple[Edge, ...]:
    """Connect every node to the states before it.

    Args:
        inputs: Input states of the cell; nodes are numbered after them.
        nodes: Intermediate nodes.
        reach: Largest distance from a node to a state that it reads; `None` means no limit.

    Returns:
        The edges, sorted by target and then by source.

    Raises:
        UsageError: There is no node, or there are more than `MOST_NODES`.
    """
    if nodes < 1:
        raise UsageError(f"a cell needs at least one node, found nodes = {nodes}")
    if nodes > MOST_NODES:
        raise UsageError(f"a cell has at most {MOST_NODES} nodes, found nodes = {nodes:,}")
    reach = inputs + nodes if reach is None else reach
    targets = range(inputs, inputs + nodes)
    return tuple(Edge(s, t) for t in targets for s in range(max(0, t - reach), t))


def check_primitives(primitives: Sequence[str], known: Collection[str]) -> None:
    """Check the candidate operations of a search.

    Raises:
        UsageError: An operation is unknown or repeated, or there are fewer than two.
    """
    unknown = sorted(set(primitives) - set(known))
    if unknown or len(set(primitives)) != len(primitives) or len(primitives) < 2:
        reason = f"unknown {', '.join(unknown)}" if unknown else "list at least 2, each once"
        raise UsageError(f"primitives: {reason}; choose from {', '.join(known)}")


class SearchSpace:
    """A search space: its cells, and the operations that its genotypes may contain.

    To define a space, write a subclass that keeps every argument of its constructor under its own
    name. Genotype files record the import path of the subclass and these arguments, see
    `to_config`. For an instance of `SearchSpace` itself they record the cells.

    Args:
        name: Short name for messages, tables and checkpoints.
        cells: The cells, one for each kind.
        inputs_per_node: Number of edges that each node keeps at discretisation; `None` keeps all.
        known_primitives: Operations that a genotype may contain; by default those of the cells.
            Set it if published cells use operations that are not searched.
        excluded: Operations that a genotype never contains.

    Attributes:
        of_choices: True if each cell is one edge, a choice. Genotypes are then written and drawn as
            the name of a candidate for each choice.
    """

    of_choices: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        cells: Sequence[Cell],
        inputs_per_node: int | None,
        known_primitives: Collection[str] | None = None,
        excluded: Collection[str] = ("none",),
    ) -> None:
        self.name = name
        self.cells = tuple(cells)
        self.inputs_per_node = inputs_per_node
        self.excluded = frozenset(excluded)
        searched = {primitive for cell in cells for primitive in cell.primitives}
        self.known_primitives = frozenset(known_primitives or searched) - self.excluded

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Names of the cell kinds, in order."""
        return tuple(cell.kind for cell in self.cells)

    def cell(self, kind: str) -> Cell:
        """Return the cell of a kind."""
        return self.cells[self.kinds.index(kind)]

    @cached_property
    def single_edges(self) -> bool:
        """True if every node has one candidate edge, so that only operations are searched."""
        return all(fan_in == 1 for cell in self.cells for fan_in in cell.fan_in)

    def candidates(self, cell: Cell) -> list[int]:
        """Return the indices of a cell's operations that a genotype may contain."""
        return [m for m, name in enumerate(cell.primitives) if name not in self.excluded]

    def title(self, kind: str) -> str:
        """Return the title of a drawn cell, such as `Layer 03 reduce cell`."""
        words = kind.replace("_", " ").capitalize()
        return words if kind == "cell" else f"{words} cell"

    def is_skip(self, kind: str, primitive: str) -> bool:
        """Return True if an operation of a cell kind returns its input."""
        return primitive == "skip_connect"

    def to_config(self) -> dict[str, Any]:
        """Return the import path and arguments from which the space can be built again."""
        if type(self) is SearchSpace:
            arguments = {
                "name": self.name,
                "cells": [
                    {**asdict(cell), "edges": [[edge.source, edge.target] for edge in cell.edges]}
                    for cell in self.cells
                ],
                "inputs_per_node": self.inputs_per_node,
                "known_primitives": sorted(self.known_primitives),
                "excluded": sorted(self.excluded),
            }
        else:
            arguments = init_args(self)
        return {"class_path": public_path(type(self)), "init_args": to_config(arguments)}

    def __eq__(self, other: object) -> bool:
        """Return True if both have the same name, cells and rules."""
        return isinstance(other, SearchSpace) and self._content == other._content

    def __hash__(self) -> int:
        """Hash of the content."""
        return hash(self._content)

    @property
    def _content(self) -> tuple[object, ...]:
        return self.name, self.cells, self.inputs_per_node, self.known_primitives, self.excluded
