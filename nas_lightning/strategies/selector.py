"""Decide the operation of an edge, and the edges of a node, in a supernet that is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from nas_lightning.architecture import Cell
from nas_lightning.search import SearchModule
from nas_lightning.search.measure import measure, quality
from nas_lightning.strategies.decisions import (
    Place,
    candidates,
    crowded,
    running_edges,
    undecided,
    without_edge,
    without_operations,
)
from nas_lightning.supernet import Mixing

Criterion = Literal["perturbation", "magnitude"]
"""By what is decided: the quality that is lost, or mixing weights."""
Decision = dict[str, Any]
"""A decision as plain data. It has epoch, cell kind and either edge, operation, weights and
strengths, or the edge that was removed and the quality without each edge."""


@dataclass(frozen=True)
class Selector:
    """Decides operations and edges, and removes the others from the search.

    Attributes:
        module: A search within a fit.
        criterion: By what it decides.
        metric: Metric of the task, see `nas_lightning.search.measure.quality`.
        earlier: Decisions so far.
    """

    module: SearchModule
    criterion: Criterion
    metric: str
    earlier: Sequence[Decision]

    def decided(self, cells: Sequence[Cell], operations: bool) -> Iterator[Decision]:
        """Decide a place that is drawn from some cells, if one is undecided.

        Args:
            cells: The cells.
            operations: True to decide the operation of an edge, False to decide the edges of a
                node.

        Yields:
            The decisions, as soon as each is taken.
        """
        space, kept = self.module.space, {cell.kind: self._kept(cell) for cell in cells}
        places = undecided(space, cells, kept) if operations else crowded(space, cells, kept)
        if not places:
            return
        kind, place = self._drawn(places)
        if operations:
            yield self._operation(space.cell(kind), place)
        else:
            yield from self._edges(space.cell(kind), place)

    def _operation(self, cell: Cell, edge: int) -> Decision:
        """Keep the best operation of an edge; of equal ones, the first."""
        mixing, names = self._mixing(), cell.primitives
        columns = candidates(self.module.space, cell, self._kept(cell)[edge])
        shares = (mixing.ops[cell.kind][edge] * mixing.edges[cell.kind][edge]).tolist()
        values = weights = {names[m]: shares[m] for m in columns}
        found: Decision = {"weights": weights}
        if self.criterion == "perturbation":
            whole = self._quality(mixing)
            without = (without_operations(mixing, cell, edge, [m]) for m in columns)
            values = {
                names[m]: whole - self._quality(each)
                for m, each in zip(columns, without, strict=True)
            }
            found |= {"quality": whole, "strengths": values}
        best = max(values, key=values.__getitem__)
        self._keep(cell, edge, [names.index(best)])
        return self._decision(cell, edge=str(cell.edges[edge]), operation=best, **found)

    def _edges(self, cell: Cell, node: int) -> Iterator[Decision]:
        """Remove edges of a node until it has as many as a genotype keeps; first the last equal."""
        most = self.module.space.inputs_per_node
        assert most is not None
        while len(edges := running_edges(cell, node, {cell.kind: self._kept(cell)})) > most:
            mixing = self._mixing()
            if self.criterion == "perturbation":
                left = [self._quality(without_edge(mixing, cell, edge)) for edge in edges]
            else:
                left = [-self._weight(cell, edge, mixing) for edge in edges]
            _, worst = max(zip(left, edges, strict=True))
            self._keep(cell, worst, [])
            without = {str(cell.edges[i]): value for i, value in zip(edges, left, strict=True)}
            yield self._decision(cell, removed=str(cell.edges[worst]), without=without)

    def _quality(self, mixing: Mixing) -> float:
        return quality(self.module, measure(self.module, mixing), self.metric)

    def _weight(self, cell: Cell, edge: int, mixing: Mixing) -> float:
        """Return the weight that the operation of an edge had when the edge was decided."""
        name = str(cell.edges[edge])
        for decision in self.earlier:
            if (decision["kind"], decision.get("edge")) == (cell.kind, name):
                return float(decision["weights"][decision["operation"]])
        return float(mixing.ops[cell.kind][edge].max() * mixing.edges[cell.kind][edge])

    def _decision(self, cell: Cell, **entries: Any) -> Decision:
        return {"epoch": self.module.current_epoch, "kind": cell.kind, **entries}

    def _mixing(self) -> Mixing:
        """Return the mixing weights without a graph."""
        with torch.no_grad():
            mixing: Mixing = self.module.arch()
        return mixing

    def _kept(self, cell: Cell) -> Tensor:
        """Return the operations that run (E, O)."""
        assert self.module.arch.survivors is not None
        return self.module.arch.survivors.kept(cell.kind)

    def _keep(self, cell: Cell, edge: int, operations: Sequence[int]) -> None:
        """Remove all but some operations of an edge."""
        mask = torch.ones_like(self._kept(cell))
        mask[edge] = False
        mask[edge, list(operations)] = True
        self.module.arch.keep(cell.kind, mask)

    def _drawn(self, places: Sequence[Place]) -> Place:
        """Draw one of some places."""
        return places[int(torch.randint(len(places), (), generator=self.module.arch.generator))]


def in_words(decision: Mapping[str, Any]) -> str:
    """Return a decision in a few words."""
    if "removed" in decision:
        return f"{decision['kind']}: edge {decision['removed']} removed"
    return f"{decision['kind']}: {decision['operation']} on edge {decision['edge']}"
