"""Cost of the runs. No other section of a report contains times."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from nas_lightning.studies.plan import RANDOM
from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.numbers import NOTHING
from nas_lightning.studies.report.page import Section, Table
from nas_lightning.studies.results import Run

TITLE = "Medians over the runs, and sums over all runs"


def section(a: Analysis) -> Section:
    """List the times, memory and parameters of each method."""
    title = "Cost"
    reading = (
        "Time of a run, summed over all its starts, on the machine that it ran on. Wall time grows "
        "with other load on the machine, processor time of a search much less. A cell "
        "that was found more than once with one seed is retrained once, and counts for each run "
        "that found it."
    )
    if not any(run.genotype is not None for run in a.results.runs):
        return Section(title, reading, ("Nothing has run yet.",))
    rows = tuple(_row(a.results.of(method), method) for method in a.results.methods)
    head = (
        "method", "search", "processor time", "all searches", "retrainings", "all retrainings",
        "peak memory", "parameters",
    )  # fmt: skip
    looked_up = "predicted by a surrogate" if a.prediction else "looked up in a table"
    note = f"Cells were {looked_up} instead of retrained." if a.results.study.table else ""
    return Section(title, reading, tables=(Table(TITLE, head, rows, note=note),))


def duration(seconds: float) -> str:
    """Format a time in a unit that suits it."""
    for length, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def _row(runs: Sequence[Run], method: str) -> tuple[str, ...]:
    ended = [run for run in runs if run.genotype is not None]
    search = [] if method == RANDOM else [run.search_seconds for run in ended]
    retrain = [run.retrain_seconds for run in ended if run.parameters is not None]
    memory = [run.peak_memory_mib for run in ended if run.peak_memory_mib is not None]
    parameters = [run.parameters for run in ended if run.parameters is not None]
    spent = [run.search_cpu_seconds for run in ended if run.search_cpu_seconds]
    each, together = _times(search)
    return (
        method,
        each,
        duration(median(spent)) if spent else NOTHING,
        together,
        *_times(retrain),
        f"{median(memory):,.0f} MiB" if memory else NOTHING,
        f"{median(parameters):,.0f}" if parameters else NOTHING,
    )


def _times(seconds: Sequence[float]) -> tuple[str, str]:
    if not seconds:
        return NOTHING, NOTHING
    return duration(median(seconds)), duration(sum(seconds))
