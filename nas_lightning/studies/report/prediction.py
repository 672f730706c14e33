"""The surrogate that judges the cells of a study, and its error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_lightning.studies.judges import surrogate_of, trained_of
from nas_lightning.studies.results import Results
from nas_lightning.studies.surrogate import is_flagged


@dataclass(frozen=True)
class Prediction:
    """A surrogate.

    Attributes:
        model: Name of its file.
        error: Its rank correlations with trained cells, see `TrainedCells.error_of`; `None` if the
            study names none.
        flagged: Method and seed of each cell with many skip connections or pools.
    """

    model: str
    error: Mapping[str, Any] | None
    flagged: tuple[tuple[str, int], ...]


def prediction(results: Results) -> Prediction | None:
    """Return the surrogate of a study; `None` if it has none.

    Raises:
        NASError: A file cannot be read.
    """
    surrogate = surrogate_of(results.study)
    if surrogate is None:
        return None
    trained = trained_of(results.study)
    error = None
    if trained is not None:  # without the folder, so that reports of equal studies are equal
        error = {**trained.error_of(surrogate), "file": Path(trained.source).name}
    flagged = tuple(
        (run.method, run.seed)
        for run in results.runs
        if run.genotype is not None and is_flagged(run.genotype)
    )
    return Prediction(surrogate.name, error, flagged)
