"""Cost of every network of a search space, as a sum over the candidates that it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nas_lightning.architecture.genotype import Genotype
from nas_lightning.architecture.space import SearchSpace

Candidate = tuple[str, int, int]
"""Kind of a cell, index of an edge, and index of an operation."""


@dataclass(frozen=True, eq=False)
class Charge:
    """Costs of the candidates of a cell kind, summed over the cells in the same place.

    Attributes:
        kind: Cell kind.
        costs: Cost of each candidate (E, O), in float64.
        within: Candidates that the cells are part of. The network has the cells only if it keeps
            all of these.
    """

    kind: str
    costs: Tensor
    within: tuple[Candidate, ...] = ()


@dataclass(frozen=True, eq=False)
class Prices:
    """Cost of every network of a search space.

    Attributes:
        fixed: Cost of everything that does not depend on the genotype.
        charges: Costs of the candidates.
    """

    fixed: float
    charges: tuple[Charge, ...]

    def total(self, kept: Mapping[str, Tensor]) -> Tensor:
        """Return the cost () of the network that keeps some candidates.

        The cost is linear in each candidate, so probabilities of independent candidates give the
        expected cost.

        Args:
            kept: For each cell kind, 1 for each candidate that is kept and 0 for the others, or
                their probabilities (E, O).
        """
        first = next(iter(kept.values()))
        cost = torch.full((), self.fixed, dtype=first.dtype, device=first.device)
        for charge in self.charges:
            share = (kept[charge.kind] * charge.costs).sum()
            for kind, edge, op in charge.within:
                share = share * kept[kind][edge, op]
            cost = cost + share
        return cost

    def of(self, genotype: Genotype) -> float:
        """Return the cost of the network of a genotype, whose operations are all candidates."""
        return float(self.total(candidates(genotype)))

    def to(self, device: torch.device, dtype: torch.dtype, unit: float = 1.0) -> Prices:
        """Return the prices in multiples of a unit, with tensors for a device and type."""
        charges = (
            Charge(charge.kind, (charge.costs / unit).to(device, dtype), charge.within)
            for charge in self.charges
        )
        return Prices(self.fixed / unit, tuple(charges))

    def bounds(self, space: SearchSpace) -> tuple[float, float]:
        """Return the cost of the cheapest and the dearest network of a space.

        Cells that lie within a candidate count as if the candidate were kept or not, whichever is
        cheaper or dearer. The bounds are then not always reached, but no network lies outside.
        """
        low = high = self.fixed
        free: dict[str, Tensor] = {}
        for charge in self.charges:
            if not charge.within:
                free[charge.kind] = free.get(charge.kind, 0) + charge.costs
        for kind, costs in free.items():
            least, most = _range(space, kind, costs)
            low, high = low + least, high + most
        for charge in self.charges:
            if charge.within:
                high += _range(space, charge.kind, charge.costs)[1]
        return low, high


def merged(fixed: float, charges: Iterable[Charge]) -> Prices:
    """Return prices in which the charges of a kind and place are added."""
    found: dict[tuple[str, tuple[Candidate, ...]], Tensor] = {}
    for charge in charges:
        place = charge.kind, charge.within
        found[place] = found.get(place, torch.zeros_like(charge.costs)) + charge.costs
    pairs = found.items()
    return Prices(fixed, tuple(Charge(kind, costs, within) for (kind, within), costs in pairs))


def candidates(genotype: Genotype) -> dict[str, Tensor]:
    """Return 1 for each candidate that a genotype keeps and 0 for the others, by kind (E, O)."""
    kept = {}
    for cell in genotype.space.cells:
        found = torch.zeros(len(cell.edges), len(cell.primitives), dtype=torch.float64)
        for target, node in zip(cell.nodes, genotype.cells[cell.kind].nodes, strict=True):
            rows = {cell.edges[row].source: row for row in cell.incoming(target)}
            for one in node:
                found[rows[one.source], cell.primitives.index(one.primitive)] += 1
        kept[cell.kind] = found
    return kept


def _range(space: SearchSpace, kind: str, costs: Tensor) -> tuple[float, float]:
    """Return the smallest and the largest cost of the cells of a kind."""
    cell = space.cell(kind)
    columns = space.candidates(cell)
    low = high = 0.0
    for node in cell.nodes:
        rows = costs[cell.incoming(node)][:, columns]
        least = rows.min(dim=1).values.sort().values[: space.inputs_per_node]
        most = rows.max(dim=1).values.sort(descending=True).values[: space.inputs_per_node]
        low, high = low + float(least.sum()), high + float(most.sum())
    return low, high
