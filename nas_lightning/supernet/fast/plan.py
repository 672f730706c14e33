"""What runs together in a cell: a function of its structure, made once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from nas_lightning.architecture import Cell
from nas_lightning.layers.primitives import Zero
from nas_lightning.supernet.fast.kernels import Kernels
from nas_lightning.supernet.fast.stages import Stage, layers, stages
from nas_lightning.supernet.mixing import Active

KEPT = 16
"""Plans kept for a cell: methods that draw operations ask for another one in every step."""


class Branch(NamedTuple):
    """An operation with weights.

    Attributes:
        to: Of the edges that it runs on, state by state, the places of their targets.
        stages: What runs.
    """

    to: tuple[int, ...]
    stages: list[Stage]


class Source(NamedTuple):
    """A state, or several with like edges, and what leaves it.

    Attributes:
        states: The states.
        targets: Nodes to which edges lead on which anything runs, the same from all states.
        pools: Layers of the operations that pool; each is the same on all edges.
        skips: How many operations hand the state on; of partial channels see `Plan.skips`.
        branches: Operations with weights.
    """

    states: tuple[int, ...]
    targets: tuple[int, ...]
    pools: list[list[nn.Module]]
    skips: int
    branches: list[Branch]

    @property
    def depth(self) -> int:
        """Stages of the longest operation."""
        return max((len(branch.stages) for branch in self.branches), default=1)


class Plan:
    """How a cell is computed.

    Attributes:
        strides: Stride of every edge.
        incoming: By node, the edges on which anything runs.
        sources: What leaves the states, in the order of the states.
        kernels: Gathers the kernels of all branches.
        scales: Of each branch, where its weights are in the flat (E, O).
        mixtures: Of each source that has pools or skips, where their weights are: operation by
            operation, state by state, target by target. E · O stands for an operation that does
            not run on an edge.
        skips: Partial channels: of each operation that hands a state on, the same edge by edge.
        small: Few operations matter more than few multiplications.
    """

    def __init__(
        self, cell: Cell, edges: nn.ModuleList, active: Active | None, small: bool
    ) -> None:
        mixed: list[Any] = list(edges)  # of MixedEdge or PartialChannelEdge
        self.strides = [edge.stride for edge in mixed]
        self._runs = active or (tuple(range(len(cell.primitives))),) * len(edges)
        self.incoming = {n: [i for i in cell.incoming(n) if self._runs[i]] for n in cell.nodes}
        self.kernels = Kernels()
        self.scales: list[list[int]] = []
        self.mixtures: list[list[int]] = []
        self.skips: list[list[int]] = []
        self._partial, self.small = mixed[0].k > 1, small
        self._ops: list[nn.ModuleList] = [edge.mixed.ops for edge in mixed]
        self.sources = [self._source(cell, *group) for group in self._groups(cell, active is None)]

    def _groups(self, cell: Cell, alike: bool) -> list[tuple[tuple[int, ...], str]]:
        """States whose edges run together, and whether all of their operations do.

        Operations without weights are of few channels, so those of the inputs run as one; the
        others do so if states are small.

        Args:
            cell: The cell.
            alike: The same operations run on all edges.
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
                these = stages([self._ops[i][m] for i in on], self.kernels, len(states), alone)
                to = tuple(targets.index(cell.edges[i].target) for i in on)
                branches.append(Branch(to, these))
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
        """Where the weight of an operation on an edge is in the flat (E, O)."""
        return edge * len(self._ops[0]) + op if op in self._runs[edge] else self._nowhere


def _stateless(op: Sequence[nn.Module]) -> bool:
    tensors = (t for layer in op for t in (*layer.parameters(), *layer.buffers()))
    return next(tensors, None) is None


_plans: WeakKeyDictionary[nn.ModuleList, dict[Any, Plan]] = WeakKeyDictionary()


def plan_of(cell: Cell, edges: nn.ModuleList, active: Active | None, small: bool) -> Plan:
    """The plan of a cell.

    Args:
        cell: The cell.
        edges: A mixed edge for each of its edges.
        active: The operations that run on each edge; none for all.
        small: Its states are so small that few operations matter more than few multiplications:
            among others, the edges of its inputs run together.
    """
    if torch.compiler.is_compiling():  # which keeps the graph, and cannot read weak references
        return Plan(cell, edges, active, small)
    plans = _plans.setdefault(edges, {})
    key = active, small
    if key not in plans:
        if len(plans) == KEPT:
            plans.pop(next(iter(plans)))
        plans[key] = Plan(cell, edges, active, small)
    return plans[key]
