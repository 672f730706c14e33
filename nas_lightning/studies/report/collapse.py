"""Collapsed searches, whose cell is mostly skip connections."""

from __future__ import annotations

from dataclasses import dataclass

from nas_lightning.architecture import Genotype
from nas_lightning.studies.plan import RANDOM
from nas_lightning.studies.results import Results, Run

ALL = "all choices"
"""Kind under which the choices of a network are counted: each of them is a single edge."""
RULE = "A search has collapsed if skip connections are more than half of a cell's kept edges."


@dataclass(frozen=True)
class Collapse:
    """A cell of a search that collapsed.

    Attributes:
        run: The search.
        kind: Kind of the cell.
        skips: Number of kept edges with a skip connection.
        edges: Number of kept edges.
    """

    run: Run
    kind: str
    skips: int
    edges: int


def collapses(results: Results) -> tuple[Collapse, ...]:
    """Return the collapsed cells of all searches."""
    return tuple(
        Collapse(run, kind, skips, edges)
        for run in results.runs
        if run.genotype is not None and run.method != RANDOM
        for kind in ([ALL] if run.genotype.space.of_choices else run.genotype.cells)
        for skips, edges in [counts(run.genotype, kind)]
        if 2 * skips > edges
    )


def counts(genotype: Genotype, kind: str) -> tuple[int, int]:
    """Count the skip connections and the kept edges of a cell, or of `ALL`.

    An edge with the operation `none` does not count as kept.
    """
    kinds = genotype.cells if kind == ALL else [kind]
    cells = [genotype.cells[each] for each in kinds]
    kept = [i.primitive != "none" for cell in cells for node in cell.nodes for i in node]
    return sum(map(genotype.skips, kinds)), sum(kept)
