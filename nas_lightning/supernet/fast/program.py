"""The program of a cell: the operations that run together, a function of the cell's structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from nas_lightning.architecture import Cell
from nas_lightning.layers.primitives import Zero
from nas_lightning.supernet.fast.kernels import Kernels
from nas_lightning.supernet.fast.segments import Segment, layers, segments
from nas_lightning.supernet.mixing import Active

KEPT = 16
"""Number of programs cached for a cell. Methods that sample operations need another one in every
step."""


class Branch(NamedTuple):
    """An operation with weights, on the edges of a source.

    Attributes:
        to: For each edge that it runs on, sorted by state, the index of its target in
            `Source.targets`.
        segments: The segments of the operation.
    """

    to: tuple[int, ...]
    segments: list[Segment]


class Source(NamedTuple):
    """A state, or several states with edges to the same targets, and the operations on its edges.

    Attributes:
        states: The states.
        targets: Targets of the edges on which an operation runs, the same for all states.
        pools: Layers of the pooling operations; they are the same on all edges.
        skips: Number of operations that pass the state on unchanged; 0 with partial channels, see
            `Program.skips`.
        branches: Operations with weights.
    """

    states: tuple[int, ...]
    targets: tuple[int, ...]
    pools: list[list[nn.Module]]
    skips: int
    branches: list[Branch]

    @property
    def depth(self) -> int:
        """Number of segments of the longest operation."""
        return max((len(branch.segments) for branch in self.branches), default=1)


class Program:
    """The operations that compute a cell.

    Mixing weights are addressed by their index in the flattened (E, O). The index E · O means zero,
    for an operation that does not run on an edge.

    Args:
        cell: The cell.
        edges: A mixed edge for each edge of the cell.
        active: The operations that run on each edge; `None` means all.
        small: States are small, so that few operations are worth more than few multiplications.

    Attributes:
        strides: Stride of every edge.
        incoming: For each node, the edges on which an operation runs.
        sources: The sources, in the order of their states.
        kernels: Gathers the kernels of all branches.
        scales: For each branch, the indices of its weights.
        mixtures: For each source with pools or skips, the indices of their weights, sorted by
            operation, then state, then target.
        skips: Partial channels: for each operation that passes a state on unchanged, the indices of
            its weights on all edges.
        small: The argument.
    """

    def __init__(
        self, cell: Cell, edges: nn.ModuleList, active: Active | None, small: bool
    ) -> None:
        mixed: list[Any] = list(edges)  # MixedEdge or PartialChannelEdge
        self.strides = [edge.stride for edge in mixed]
        # a strategy may have added operations that are not among the cell's primitives
        self._ops: list[nn.ModuleList] = [edge.mixed.ops for edge in mixed]
        self._runs = active or tuple(tuple(range(len(ops))) for ops in self._ops)
        self.incoming = {n: [i for i in cell.incoming(n) if self._runs[i]] for n in cell.nodes}
        self.kernels = Kernels()
        self.scales: list[list[int]] = []
        self.mixtures: list[list[int]] = []
        self.skips: list[list[int]] = []
        self._partial, self.small = mixed[0].k > 1, small
        self.sources = [self._source(cell, *group) for group in self._groups(cell, active is None)]

    def _groups(self, cell: Cell, alike: bool) -> list[tuple[tuple[int, ...], str]]:
        """Group the states whose edges run together, and say which operations each group runs.

        Operations without weights have few channels, so those on the edges of all inputs run as
        one. Operations with weights do so only if states are small.

        Args:
            cell: The cell.
            alike: The same operations run on all edges.

        Returns:
            For each group its states, and `all`, `free` (without weights) or `weighted`.
        """
        inputs = tuple(range(cell.inputs))
        targets = {tuple(cell.edges[i].target for i in cell.outgoing(s)) for s in inputs}
        together = alike and len(targets) == 1 < len(inputs)
        nodes = [((s,), "all") for s in range(cell.inputs, cell.nodes[-1])]
        if together and self.small:
            return [(inputs, "all"), *nodes]
        if together:
            return [(inputs, "free"), *(((s,), "weighted") for s in inputs), *nodes]
        return [*(((s,), "all") for s in inputs), *nodes]

    def _source(self, cell: Cell, states: tuple[int, ...], which: str) -> Source:
        edges = tuple(i for s in states for i in cell.outgoing(s) if self._runs[i])
        targets = tuple(cell.edges[i].target for i in edges[: len(edges) // len(states)])
        pools: dict[int, list[nn.Module]] = {}
        skips: list[int] = []
        branches: list[Branch] = []
        for m in sorted({m for i in edges for m in self._runs[i]}):
            on = tuple(i for i in edges if m in self._runs[i])
            first = list(layers(self._ops[on[0]][m]))
            free = isinstance(first[0], nn.Identity | nn.MaxPool2d | nn.AvgPool2d | Zero)
            free = free and _stateless(first)
            if which not in ("all", "free" if free else "weighted"):
                continue
            if isinstance(first[0], nn.Identity):
                skips.append(m)
            elif free and not isinstance(first[0], Zero):
                pools[m] = first
            elif not free:
                alone = self.small and len(states) == 1
                ops = [self._ops[i][m] for i in on]
                to = tuple(targets.index(cell.edges[i].target) for i in on)
                branches.append(Branch(to, segments(ops, self.kernels, len(states), alone)))
                self.scales.append([self._place(i, m) for i in on])
        if self._partial:
            everywhere = range(len(self._ops))
            self.skips += [
                [self._place(i, m) if i in edges else self._nowhere for i in everywhere]
                for m in skips
            ]
            skips = []
        if pools or skips:
            self.mixtures.append([self._place(i, m) for m in (*pools, *skips) for i in edges])
        return Source(states, targets, list(pools.values()), len(skips), branches)

    @property
    def _nowhere(self) -> int:
        return len(self._ops) * len(self._ops[0])

    def _place(self, edge: int, op: int) -> int:
        """Return the index of the weight of an operation on an edge in the flattened (E, O)."""
        return edge * len(self._ops[0]) + op if op in self._runs[edge] else self._nowhere


def _stateless(op: Sequence[nn.Module]) -> bool:
    tensors = (t for layer in op for t in (*layer.parameters(), *layer.buffers()))
    return next(tensors, None) is None


_programs: WeakKeyDictionary[nn.ModuleList, dict[Any, Program]] = WeakKeyDictionary()


def program_of(cell: Cell, edges: nn.ModuleList, active: Active | None, small: bool) -> Program:
    """Return the program of a cell from the cache, or make it; see `Program`."""
    if torch.compiler.is_compiling():  # it keeps the graph, and cannot read weak references
        return Program(cell, edges, active, small)
    programs = _programs.setdefault(edges, {})
    key = active, small
    if key not in programs:
        if len(programs) == KEPT:
            programs.pop(next(iter(programs)))
        programs[key] = Program(cell, edges, active, small)
    return programs[key]
