"""Searches that collapsed: their cell is mostly skip connections."""

from __future__ import annotations

from dataclasses import dataclass

from nas_lightning.architecture import Genotype
from nas_lightning.studies.plan import RANDOM
from nas_lightning.studies.results import Results, Run

SKIP = "skip_connect"
RULE = "A search has collapsed if skip connections are more than half of a cell's kept edges."


@dataclass(frozen=True)
class Collapse:
    """A cell of a search that collapsed.

    Attributes:
        run: The search.
        kind: Of the cell.
        skips: Kept edges with a skip connection.
        edges: Kept edges.
    """

    run: Run
    kind: str
    skips: int
    edges: int


def collapses(results: Results) -> tuple[Collapse, ...]:
    """The cells of all searches that collapsed."""
    return tuple(
        Collapse(run, kind, skips, edges)
        for run in results.runs
        if run.genotype is not None and run.method != RANDOM
        for kind in run.genotype.cells
        for skips, edges in [counts(run.genotype, kind)]
        if 2 * skips > edges
    )


def counts(genotype: Genotype, kind: str) -> tuple[int, int]:
    """Skip connections and kept edges of a cell; an edge of no operation is not kept."""
    kept = [i.primitive for node in genotype.cells[kind].nodes for i in node]
    return kept.count(SKIP), len(kept) - kept.count("none")
