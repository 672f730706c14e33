"""What a search space is: cells, their candidate edges, and the operations an edge may carry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Edge:
    """A candidate edge between two states of a cell.

    States are numbered from 0: first the cell's inputs, then its intermediate nodes.
    """

    source: int
    target: int

    def __str__(self) -> str:
        """Short name, such as `0-2`, that may stand in the names of metrics."""
        return f"{self.source}-{self.target}"


@dataclass(frozen=True)
class Cell:
    """A cell that is searched.

    Row `l` of α (E, O) and element `l` of β (E,) belong to `edges[l]`; column `m` to
    `primitives[m]`.

    Attributes:
        kind: Name of the cell kind; α and β are kept under it.
        inputs: Number of input states.
        edges: Candidate edges, sorted by target and then by source.
        primitives: Candidate operations, the same on every edge.
        last_node_only: The output is the last node, not all of them.
    """

    kind: str
    inputs: int
    edges: tuple[Edge, ...]
    primitives: tuple[str, ...]
    last_node_only: bool = False

    @property  # read in cells: what `torch.compile` takes in must not hold the cache's lock
    def nodes(self) -> tuple[int, ...]:
        """State indices of the intermediate nodes."""
        return tuple(sorted({edge.target for edge in self.edges}))

    @property
    def concat(self) -> tuple[int, ...]:
        """State indices of the nodes that make the output."""
        return self.nodes[-1:] if self.last_node_only else self.nodes

    @cached_property
    def fan_in(self) -> tuple[int, ...]:
        """Number of edges into each node; edges are sorted by node, so these are segments."""
        return tuple(len(self.incoming(node)) for node in self.nodes)

    def incoming(self, node: int) -> list[int]:
        """Indices into `edges` of the edges that end in state `node`."""
        return [i for i, edge in enumerate(self.edges) if edge.target == node]

    def outgoing(self, state: int) -> list[int]:
        """Indices into `edges` of the edges that start in a state."""
        return [i for i, edge in enumerate(self.edges) if edge.source == state]


@dataclass(frozen=True)
class SearchSpace:
    """A search space: the cells that are searched and what a genotype of it may hold.

    Attributes:
        name: Stands in every genotype file and checkpoint.
        cells: One entry a cell kind.
        inputs_per_node: Edges that are kept for each node at discretisation; none keeps all.
        known_primitives: Every operation that a genotype of this space may name; more than
            `Cell.primitives` where published cells use operations that are not searched.
        excluded: Primitives that a genotype never holds.
    """

    name: str
    cells: tuple[Cell, ...]
    inputs_per_node: int | None
    known_primitives: frozenset[str]
    excluded: frozenset[str] = frozenset({"none"})

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Names of the cell kinds, in order."""
        return tuple(cell.kind for cell in self.cells)

    def cell(self, kind: str) -> Cell:
        """The cell of that kind."""
        return self.cells[self.kinds.index(kind)]
