"""The cells that searches found, and the agreement between seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput
from nas_lightning.studies.plan import RANDOM, digest
from nas_lightning.studies.results import Results, Run

Entry = tuple[int, int, str]
"""Target, source and primitive of a kept edge."""


@dataclass(frozen=True)
class FoundCell:
    """A cell that searches found.

    Attributes:
        digest: Digest of the cell, its short name.
        genotype: The cell.
        runs: The searches that found it.
    """

    digest: str
    genotype: Genotype
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Agreement:
    """Agreement of the cells that a method found with different seeds.

    Attributes:
        runs: Number of cells.
        distinct: Number of distinct cells.
        agreement: Share of inputs (pairs of source and primitive) that two cells both keep, a mean
            over pairs of seeds and over nodes; `None` with fewer than two cells.
        kept: For each kind of cell and each kept edge, the number of runs that keep it.
    """

    runs: int
    distinct: int
    agreement: float | None
    kept: Mapping[str, Mapping[Entry, int]]


def found_cells(results: Results) -> tuple[FoundCell, ...]:
    """Return the cells that searches found, the most frequent first."""
    cells: dict[str, list[Run]] = {}
    for run in results.runs:
        if run.genotype is not None and run.method != RANDOM:
            cells.setdefault(digest(run.genotype), []).append(run)
    found = [
        FoundCell(name, genotype, tuple(runs))
        for name, runs in cells.items()
        if (genotype := runs[0].genotype) is not None
    ]
    return tuple(sorted(found, key=lambda cell: (-len(cell.runs), cell.digest)))


def agreements(results: Results) -> Mapping[str, Agreement]:
    """Compute the agreement of each method; that of the random cells is due to chance."""
    return {method: _agreement(results.of(method)) for method in results.methods}


def overlap(first: Genotype, second: Genotype) -> float:
    """Return the share of inputs that two genotypes both keep, a mean over nodes.

    A node without inputs in both counts as 1.
    """
    return fmean(
        _shared(a, b)
        for kind, cell in first.cells.items()
        for a, b in zip(cell.nodes, second.cells[kind].nodes, strict=False)
    )


def _agreement(runs: Sequence[Run]) -> Agreement:
    cells = [run.genotype for run in runs if run.genotype is not None]
    shares = [overlap(first, second) for first, second in combinations(cells, 2)]
    kinds = cells[0].cells if cells else ()
    return Agreement(
        runs=len(cells),
        distinct=len({digest(cell) for cell in cells}),
        agreement=fmean(shares) if shares else None,
        kept={
            kind: Counter(entry for cell in cells for entry in _entries(cell.cells[kind]))
            for kind in kinds
        },
    )


def _shared(first: Sequence[NodeInput], second: Sequence[NodeInput]) -> float:
    most = max(len(first), len(second))
    return sum((Counter(first) & Counter(second)).values()) / most if most else 1.0


def _entries(cell: CellGenotype) -> list[Entry]:
    return [
        (target, kept.source, kept.primitive)
        for target, node in enumerate(cell.nodes, start=cell.inputs)
        for kept in node
    ]
