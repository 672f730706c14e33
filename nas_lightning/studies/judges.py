"""The table or surrogate that gives the accuracies of a study's cells without retrainings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nas_lightning.architecture import Genotype
from nas_lightning.errors import UsageError
from nas_lightning.studies.ground_truth import GroundTruth
from nas_lightning.studies.plan import Study
from nas_lightning.studies.surrogate import SUFFIXES, Surrogate, TrainedCells

PREDICTED = "accuracy"
"""The metric that a surrogate predicts."""
Judge = Callable[[Genotype], float]
"""Cell → its accuracy, 0 to 1."""


def is_predicted(study: Study) -> bool:
    """Return True if a surrogate judges the cells."""
    return study.table is not None and Path(study.table).suffix in SUFFIXES


def surrogate_of(study: Study) -> Surrogate | None:
    """Read the surrogate of a study, if it has one.

    Raises:
        NASError: It cannot be read.
    """
    return Surrogate.load(Path(str(study.table))) if is_predicted(study) else None


def trained_of(study: Study) -> TrainedCells | None:
    """Read the trained cells on which the surrogate's error is measured, if they are named.

    Raises:
        NASError: They cannot be read.
    """
    return TrainedCells.load(Path(study.trained), study.column) if study.trained else None


def truth_of(study: Study) -> GroundTruth | None:
    """Read the table of true accuracies of a study, if it has one.

    Raises:
        NASError: It cannot be read.
    """
    if study.table is None or is_predicted(study):
        return None
    return GroundTruth.load(Path(study.table), study.column)


def judge_of(study: Study) -> Judge | None:
    """Return the function that judges a cell in place of retrainings, if there is one.

    Raises:
        NASError: The table or the surrogate cannot be read.
    """
    if (surrogate := surrogate_of(study)) is not None:
        return surrogate.predict
    truth = truth_of(study)
    return None if truth is None else truth.accuracy


def check_judge(study: Study, metric: str, cell: Genotype) -> None:
    """Check the table or the surrogate of a study before anything runs.

    Args:
        study: The plan.
        metric: The metric that is compared.
        cell: A cell of the space that is searched.

    Raises:
        UsageError: It does not fit the study.
        NASError: It cannot be read.
    """
    if study.trained and not is_predicted(study):
        raise UsageError("--trained measures the error of a surrogate: name one by --table")
    truth_of(study)
    surrogate = surrogate_of(study)
    if surrogate is None:
        return
    if metric != PREDICTED:
        raise UsageError(f"--table: a surrogate predicts accuracy, and the study compares {metric}")
    if study.column and not study.trained:
        raise UsageError("--column is a column of --trained: name that file too")
    trained_of(study)
    surrogate.predict(cell)
