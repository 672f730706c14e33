"""What was run."""

from __future__ import annotations

from nas_lightning.studies.plan import Study
from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.numbers import count, listed
from nas_lightning.studies.report.page import Section, Table


def section(a: Analysis) -> Section:
    """Methods, seeds, retrainings, random cells, and the metric."""
    study = a.results.study
    words = [
        f"{count(len(study.methods), 'method')} on {count(study.seeds, 'seed')} each: "
        f"{listed(a.searches) or 'none'}.",
        _judged(study),
        f"Beside them {count(study.random, 'randomly drawn cell')}, judged in the same way."
        if study.random
        else "No randomly drawn cells stand beside them.",
        _metric(a),
    ]
    rows = tuple(
        (method.name, ", ".join(_base(name) for name in method.configs), method.digest)
        for method in (*study.methods, *((study.retrain,) if study.retrain else ()))
    )
    table = Table("Configurations", ("name", "files, later ones win", "digest"), rows, labels=3)
    reading = "What was planned; the plan is in study.json, every number in report.json."
    return Section("What was run", reading, (" ".join(words),), tables=(table,))


def _judged(study: Study) -> str:
    if study.table:
        column = f", column {study.column}" if study.column else ""
        return f"What they find is looked up in the table {_base(study.table)}{column}."
    if study.retrain is None:
        return "What they find is not retrained."
    if study.retrain_seeds == 1:
        return "What they find is retrained from scratch once."
    return (
        f"What they find is retrained from scratch {study.retrain_seeds} times; its final metric "
        "is the mean."
    )


def _metric(a: Analysis) -> str:
    better = "higher" if a.results.higher_is_better else "lower"
    unit = a.scale.unit.strip()
    shown = f", in {unit}" if unit else ""
    return f"The metric is {a.scale.name} on the test data{shown}: {better} is better."


def _base(path: str) -> str:
    """The last part of a path, so that a report does not depend on where it was made."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]
