"""The list of all runs."""

from __future__ import annotations

from itertools import count
from urllib.parse import quote

from nas_lightning.studies.plan import RANDOM, digest
from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.collapse import counts
from nas_lightning.studies.report.numbers import NOTHING, Scale
from nas_lightning.studies.report.page import Entry, Link, Section, Table
from nas_lightning.studies.results import Run


def section(a: Analysis) -> Section:
    """List all runs, with links to their directories."""
    reading = (
        "The seed of a random cell is its number. Links lead to the directories of the search and "
        "of the numbered retrainings."
    )
    final = "predicted" if a.prediction else "final"
    head = (
        "method", "state", "cell", "seed", "supernet", "one-shot", final, "each retraining",
        "skips", "parameters", "runs",
    )  # fmt: skip
    rows = tuple(_row(a, run) for run in a.results.runs)
    tables = [Table(f"Runs, {Scale(a.results.metric).label}", head, rows, labels=3)]
    failed = tuple(
        (run.method, failure, str(run.seed)) for run in a.results.runs for failure in run.failures
    )
    if failed:
        tables.append(Table("Failures", ("method", "what went wrong", "seed"), failed, labels=2))
    words = () if failed else ("No run has failed.",)
    return Section("Every run", reading, words, tables=tuple(tables))


def state(run: Run) -> str:
    """Return the state of a run: `done`, `failed`, or what is missing."""
    if run.final is not None:
        return "done"
    if run.failures:
        return "failed"
    if run.genotype is None:
        return "not drawn" if run.method == RANDOM else "not searched"
    return f"{len(run.finals)} of {run.expected} retrained"


def _row(a: Analysis, run: Run) -> tuple[Entry, ...]:
    show, cell = a.scale.show, run.genotype
    return (
        run.method,
        state(run),
        NOTHING if cell is None else digest(cell),
        str(run.seed),
        show(run.supernet),
        show(run.one_shot),
        show(run.final),
        " · ".join(map(show, run.finals)) or NOTHING,
        NOTHING if cell is None else str(sum(counts(cell, kind)[0] for kind in cell.cells)),
        NOTHING if run.parameters is None else f"{run.parameters:,}",
        _links(a, run),
    )


def _links(a: Analysis, run: Run) -> tuple[Link, ...]:
    """Return a link to each directory; directories that do not exist have no target."""
    retrainings = count(1)
    return tuple(
        Link(
            "search" if link.startswith("searches/") else str(next(retrainings)),
            quote(link) if (a.folder / link).is_dir() else None,
        )
        for link in run.links
    )
