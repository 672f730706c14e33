"""Analysis of a study: all numbers of its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nas_lightning.studies.ground_truth import GroundTruth, Standing
from nas_lightning.studies.judges import is_predicted, truth_of
from nas_lightning.studies.report.agreement import Agreement, FoundCell, agreements, found_cells
from nas_lightning.studies.report.collapse import Collapse, collapses
from nas_lightning.studies.report.contrasts import Contrast, contrasts
from nas_lightning.studies.report.front import Front, front
from nas_lightning.studies.report.numbers import Scale
from nas_lightning.studies.report.prediction import Prediction, prediction
from nas_lightning.studies.report.proxies import Coefficients, Ranking, correlations, rankings
from nas_lightning.studies.report.trajectories import final_lambda
from nas_lightning.studies.results import Results, Run
from nas_lightning.studies.statistics import Summary, summarize


@dataclass(frozen=True)
class Analysis:
    """The numbers of a study, read and computed once for all sections.

    Attributes:
        folder: Folder of the report; links are relative to it.
        results: Results of the runs.
        scale: Format of values of the metric.
        summaries: Statistics of the final metric of each method.
        contrasts: Comparisons of every two methods.
        correlations: Correlations with the final metric, by proxy and method.
        rankings: For each search that scored the random cells, how well it ranks them.
        agreements: Agreement of the cells of each method.
        cells: The cells that were found, the most frequent first.
        collapses: Cells that are mostly skip connections.
        lambdas: Statistics of Λ at the end of the searches, by method.
        standings: Standing of each cell in the table of true accuracies, by method and seed; empty
            without a table.
        best: The highest accuracy in that table; `None` without a table.
        front: Final metric against cost, of searches with budgets.
        prediction: The surrogate that judges the cells; `None` without one.
    """

    folder: Path
    results: Results
    scale: Scale
    summaries: Mapping[str, Summary]
    contrasts: tuple[Contrast, ...]
    correlations: Mapping[str, Mapping[str, Coefficients]]
    rankings: tuple[Ranking, ...]
    agreements: Mapping[str, Agreement]
    cells: tuple[FoundCell, ...]
    collapses: tuple[Collapse, ...]
    lambdas: Mapping[str, Summary]
    standings: Mapping[tuple[str, int], Standing]
    best: float | None
    front: Front
    prediction: Prediction | None

    @property
    def searches(self) -> list[str]:
        """Names of the methods that search."""
        return [method.name for method in self.results.study.methods]

    @property
    def missing(self) -> list[Run]:
        """Runs without a final metric."""
        return [run for run in self.results.runs if run.final is None]


def analyse(folder: Path, results: Results) -> Analysis:
    """Compute all numbers of the report of a study.

    Args:
        folder: Folder of the report.
        results: Results of the runs.
    """
    study = results.study
    truth = truth_of(study)
    return Analysis(
        folder=folder,
        results=results,
        scale=Scale(results.metric, is_predicted(study)),
        summaries={method: summarize(finals(results, method)) for method in results.methods},
        contrasts=contrasts(results),
        correlations=correlations(results),
        rankings=rankings(results),
        agreements=agreements(results),
        cells=found_cells(results),
        collapses=collapses(results),
        lambdas=_lambdas(results),
        standings=_standings(results, truth),
        best=None if truth is None else truth.best,
        front=front(results),
        prediction=prediction(results),
    )


def finals(results: Results, method: str) -> list[float]:
    """Return the final metrics of a method, without runs that have none."""
    return [run.final for run in results.of(method) if run.final is not None]


def _lambdas(results: Results) -> dict[str, Summary]:
    found = {
        method.name: [final_lambda(run) for run in results.of(method.name)]
        for method in results.study.methods
    }
    return {
        name: summarize([value for value in values if value is not None])
        for name, values in found.items()
    }


def _standings(results: Results, truth: GroundTruth | None) -> dict[tuple[str, int], Standing]:
    if truth is None:
        return {}
    return {
        (run.method, run.seed): truth.standing(run.genotype)
        for run in results.runs
        if run.genotype is not None
    }
