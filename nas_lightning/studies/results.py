"""The results of a study's runs, read from its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, TypedDict, TypeVar

from nas_lightning.architecture import Genotype
from nas_lightning.errors import ContentError
from nas_lightning.files import write_text
from nas_lightning.runs.metrics import Row, read_metrics
from nas_lightning.schema import read_file
from nas_lightning.studies.judges import Judge, judge_of
from nas_lightning.studies.plan import (
    RANDOM,
    Study,
    random_cell,
    read_study,
    retrain_dir,
    retrain_seeds,
    search_dir,
)
from nas_lightning.text import shown

RESULT = "result.json"
FAILURE = "failure.json"


class Result(TypedDict):
    """The facts that the results of all runs have.

    Attributes:
        seconds: Time of the run, over all its starts.
    """

    seconds: float


class Costs(TypedDict, total=False):
    """A part of `SearchResult` that earlier releases did not write."""

    costs: dict[str, float]
    cpu_seconds: float


class SearchResult(Result, Costs):
    """The result of a search; see `Run`."""

    supernet: float | None
    one_shot: float | None
    scores: dict[str, float]
    peak_memory_mib: float


class RetrainResult(Result):
    """The result of a retraining; see `Run`."""

    final: float
    parameters: int


class Failure(TypedDict):
    """Why a run failed."""

    message: str


AnyResult = TypeVar("AnyResult", bound=Result)


@dataclass(frozen=True)
class Run:
    """A search and the retrainings of what it found, or a randomly drawn cell and its retrainings.

    Attributes:
        method: Name of the method, or `random`.
        seed: Seed of the search, or number of the random cell.
        genotype: The found or drawn cell; `None` until the search has ended.
        supernet: Metric of the supernet on the validation half at the end of the search; `None`
            without such data, and for a random cell.
        one_shot: Metric on the test data of the discrete cell with the supernet's weights; `None`
            for a random cell.
        scores: One-shot metric of the random cells in this search's supernet, by their number;
            cells with an operation that the supernet does not have are left out.
        costs: Cost of the random cells in the resource of this search's budget, by their number;
            empty without a budget.
        finals: Metric on the test data of each retraining that has ended, or the table's.
        expected: Number of `finals` once all has run.
        parameters: Parameters of the retrained network.
        search_seconds: Wall time of the search, over all its starts.
        search_cpu_seconds: Processor time of the search; 0 if an earlier release ran it.
        retrain_seconds: Wall time of all retrainings, over all their starts.
        peak_memory_mib: Peak memory of the search.
        links: Run directories, relative to the study's folder.
        failures: Messages of the runs that failed.
        history: Logged metrics of the search, one row per epoch.
    """

    method: str
    seed: int
    genotype: Genotype | None = None
    supernet: float | None = None
    one_shot: float | None = None
    scores: Mapping[int, float] = field(default_factory=dict)
    costs: Mapping[int, float] = field(default_factory=dict)
    finals: tuple[float, ...] = ()
    expected: int = 1
    parameters: int | None = None
    search_seconds: float = 0.0
    search_cpu_seconds: float = 0.0
    retrain_seconds: float = 0.0
    peak_memory_mib: float | None = None
    links: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    history: tuple[Row, ...] = ()

    @property
    def final(self) -> float | None:
        """Mean over the retrainings, once all have ended."""
        return fmean(self.finals) if len(self.finals) == self.expected else None


@dataclass(frozen=True)
class Results:
    """The results of a study so far.

    Attributes:
        study: Its plan.
        runs: All planned runs, by method in the order of the plan, with `random` last, and by seed.
    """

    study: Study
    runs: tuple[Run, ...]

    @property
    def metric(self) -> str:
        """Name of the metric, such as `accuracy` or `psnr`."""
        return self.study.metric

    @property
    def higher_is_better(self) -> bool:
        """True if larger values are better."""
        return self.study.higher_is_better

    def of(self, method: str) -> list[Run]:
        """Return the runs of a method, or of `random`, by seed."""
        return [run for run in self.runs if run.method == method]

    @property
    def methods(self) -> list[str]:
        """Names of the methods, `random` last if there is such a baseline."""
        return list(dict.fromkeys(run.method for run in self.runs))


def write_result(folder: Path, values: Mapping[str, Any]) -> None:
    """Record that the run in a folder has ended well, with its result."""
    write_text(folder / RESULT, json.dumps(values, indent=1) + "\n")
    (folder / FAILURE).unlink(missing_ok=True)


def write_failure(folder: Path, message: str) -> None:
    """Record that the run in a folder failed."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FAILURE, json.dumps({"message": message}) + "\n")


def read_result(folder: Path, kind: type[AnyResult]) -> AnyResult | None:
    """Return the result of the run in a folder, or `None` if it has not ended well.

    Args:
        folder: The run directory.
        kind: `SearchResult` or `RetrainResult`; `Result` for what both have.

    Raises:
        NASError: There is a file that cannot be read, or of another content.
    """
    path = folder / RESULT
    return read_file(kind, path) if os.path.lexists(path) else None


def read_failure(folder: Path) -> str | None:
    """Return the message of the failed run in a folder, or `None` if it did not fail.

    Raises:
        NASError: There is a file that cannot be read, or of another content.
    """
    path = folder / FAILURE
    return read_file(Failure, path)["message"] if os.path.lexists(path) else None


def read_results(folder: Path) -> Results:
    """Read the results of a study so far.

    Raises:
        UsageError: The folder holds no study.
    """
    study = read_study(folder)
    judge = judge_of(study)
    runs = [
        _searched(folder, study, judge, method.name, seed)
        for method in study.methods
        for seed in range(study.seeds)
    ]
    runs += [_drawn(folder, study, judge, number) for number in range(study.random)]
    return Results(study, tuple(runs))


def _searched(folder: Path, study: Study, judge: Judge | None, name: str, seed: int) -> Run:
    place = search_dir(folder, name, seed)
    link = str(place.relative_to(folder))
    found = read_result(place, SearchResult)
    if found is None:
        failure = read_failure(place)
        failures = () if failure is None else (failure,)
        return Run(name, seed, expected=_expected(study), links=(link,), failures=failures)
    genotype = Genotype.load(place / "genotype.json")
    run = Run(
        method=name,
        seed=seed,
        genotype=genotype,
        supernet=found["supernet"],
        one_shot=found["one_shot"],
        scores=_numbered(found["scores"], "scores", place / RESULT),
        costs=_numbered(found.get("costs", {}), "costs", place / RESULT),
        search_seconds=found["seconds"],
        search_cpu_seconds=found.get("cpu_seconds", 0.0),
        peak_memory_mib=found["peak_memory_mib"],
        links=(link,),
        history=tuple(_by_epoch(read_metrics(place))),
    )
    return _with_finals(run, folder, study, judge, genotype)


def _numbered(found: Mapping[str, float], key: str, path: Path) -> dict[int, float]:
    """Return the values of the random cells by their number."""
    for number in found:
        if not (number.isascii() and number.isdecimal()):
            reason = f"expected the number of a cell, found {shown(number)}"
            raise ContentError(reason, f"$.{key}", str(path))
    return {int(number): score for number, score in found.items()}


def _drawn(folder: Path, study: Study, judge: Judge | None, number: int) -> Run:
    path = random_cell(folder, number)
    if not path.exists():
        return Run(RANDOM, number, expected=_expected(study))
    genotype = Genotype.load(path)
    return _with_finals(Run(RANDOM, number, genotype), folder, study, judge, genotype)


def _with_finals(
    run: Run, folder: Path, study: Study, judge: Judge | None, genotype: Genotype
) -> Run:
    """Return the run with the metric of its cell: by table, surrogate or retrainings."""
    if judge is not None:
        return replace(run, finals=(judge(genotype),))
    places = [
        retrain_dir(folder, genotype, seed) for seed in retrain_seeds(run.seed, study.retrain_seeds)
    ]
    ended = [
        result for place in places if (result := read_result(place, RetrainResult)) is not None
    ]
    return replace(
        run,
        finals=tuple(result["final"] for result in ended),
        expected=_expected(study),
        parameters=ended[0]["parameters"] if ended else None,
        retrain_seconds=sum(result["seconds"] for result in ended),
        links=(*run.links, *(str(place.relative_to(folder)) for place in places)),
        failures=tuple(failure for place in places if (failure := read_failure(place))),
    )


def _expected(study: Study) -> int:
    return 1 if study.table else study.retrain_seeds


def _by_epoch(rows: Sequence[Row]) -> list[Row]:
    """Merge the rows of each epoch."""
    epochs: dict[float, Row] = {}
    for row in rows:
        if "epoch" in row:
            epochs.setdefault(row["epoch"], {}).update(row)
    return [epochs[epoch] for epoch in sorted(epochs)]
