"""The plan of the study."""

from __future__ import annotations

from nas_lightning.studies.judges import is_predicted
from nas_lightning.studies.plan import Study
from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.numbers import count, listed
from nas_lightning.studies.report.page import Section, Table


def section(a: Analysis) -> Section:
    """Describe the methods, seeds, retrainings, random cells and the metric."""
    study = a.results.study
    words = [
        f"{count(len(study.methods), 'method')} on {count(study.seeds, 'seed')} each: "
        f"{listed(a.searches) or 'none'}.",
        _judged(study),
        f"{count(study.random, 'random cell')} {'is' if study.random == 1 else 'are'} evaluated in "
        "the same way."
        if study.random
        else "The study has no random cells.",
        _metric(a),
    ]
    rows = tuple(
        (method.name, ", ".join(_base(name) for name in method.configs), method.digest)
        for method in (*study.methods, *((study.retrain,) if study.retrain else ()))
    )
    table = Table("Configurations", ("name", "files, later ones win", "digest"), rows, labels=3)
    reading = "The plan of the study. It is in study.json, and all numbers are in report.json."
    return Section("What was run", reading, (" ".join(words),), tables=(table,))


def _judged(study: Study) -> str:
    if is_predicted(study):
        return (
            f"Accuracies of found cells are predicted by the surrogate {_base(str(study.table))}."
        )
    if study.table:
        column = f", column {study.column}" if study.column else ""
        return f"Found cells are looked up in the table {_base(study.table)}{column}."
    if study.retrain is None:
        return "Found cells are not retrained."
    if study.retrain_seeds == 1:
        return "Found cells are retrained from scratch once."
    return (
        f"Found cells are retrained from scratch {study.retrain_seeds} times; the final metric is "
        "the mean."
    )


def _metric(a: Analysis) -> str:
    better = "higher" if a.results.higher_is_better else "lower"
    unit = a.scale.unit.strip()
    shown = f", in {unit}" if unit else ""
    data = "" if a.prediction else " on the test data"
    return f"The metric is {a.scale.name}{data}{shown}: {better} is better."


def _base(path: str) -> str:
    """Return the last part of a path, so that reports of equal studies are equal."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]
