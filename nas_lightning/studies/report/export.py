"""The numbers of a report as JSON and CSV.

Times and memory are only under `cost`, or in columns that begin with it, so that reports of equal
studies can be compared without them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from nas_lightning.architecture import Genotype
from nas_lightning.studies.plan import digest
from nas_lightning.studies.report.agreement import Agreement
from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.collapse import RULE, counts
from nas_lightning.studies.report.contrasts import Contrast
from nas_lightning.studies.report.proxies import strength
from nas_lightning.studies.report.sections.runs import state
from nas_lightning.studies.report.trajectories import final_lambda
from nas_lightning.studies.results import Run
from nas_lightning.studies.surrogate import RULE as FLAG
from nas_lightning.studies.surrogate import WHAT

FORMAT = "nas-lightning report"
VERSION = 1
COST = ("search_seconds", "search_cpu_seconds", "retrain_seconds", "peak_memory_mib")


def to_json(a: Analysis) -> str:
    """Return all numbers as JSON. Values of the metric are not converted to percent."""
    study = a.results.study
    document = {
        "format": FORMAT,
        "version": VERSION,
        "study": {
            "methods": {method.name: method.digest for method in study.methods},
            "retraining": study.retrain and study.retrain.digest,
            "seeds": study.seeds,
            "retrain_seeds": study.retrain_seeds,
            "random": study.random,
            "table": study.table is not None,
        },
        "metric": {"name": a.results.metric, "higher_is_better": a.results.higher_is_better},
        "results": [_run(a, run) for run in a.results.runs],
        "statistics": {method: asdict(summary) for method, summary in a.summaries.items()},
        "comparisons": [_contrast(contrast) for contrast in a.contrasts],
        "correlations": {
            proxy: {
                name: {"strength": strength(found[2]), "coefficients": [asdict(c) for c in found]}
                for name, found in groups.items()
            }
            for proxy, groups in a.correlations.items()
        },
        "rankings": [asdict(ranking) for ranking in a.rankings],
        "collapse": {
            "rule": RULE,
            "cells": [
                {"method": c.run.method, "seed": c.run.seed, "kind": c.kind, "skips": c.skips,
                 "edges": c.edges}
                for c in a.collapses
            ],
        },
        "cells": [
            {"digest": cell.digest, "runs": [[run.method, run.seed] for run in cell.runs]}
            for cell in a.cells
        ],
        "agreement": {method: _agreement(made) for method, made in a.agreements.items()},
        "lambda": {method: asdict(summary) for method, summary in a.lambdas.items()},
        "best": a.best,
        "front": [asdict(point) for point in a.front.points],
    }  # fmt: skip
    if a.prediction is not None:
        document["prediction"] = {"what": WHAT, "flag": FLAG, **asdict(a.prediction)}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def to_csv(a: Analysis) -> str:
    """Return a table as CSV, with a row for each run."""
    rows = [_flat(_run(a, run)) for run in a.results.runs]
    names = list(dict.fromkeys(name for row in rows for name in row))
    names.sort(key=lambda name: name.startswith("cost_"))  # stable: other columns keep their order
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _run(a: Analysis, run: Run) -> dict[str, Any]:
    standing = a.standings.get((run.method, run.seed))
    return {
        "method": run.method,
        "seed": run.seed,
        "state": state(run),
        "cell": run.genotype and digest(run.genotype),
        "supernet": run.supernet,
        "one_shot": run.one_shot,
        "final": run.final,
        "finals": list(run.finals),
        "scores": {str(number): score for number, score in sorted(run.scores.items())},
        "skips": run.genotype and _skips(run.genotype),
        "lambda": final_lambda(run),
        "parameters": run.parameters,
        "standing": standing and asdict(standing),
        "links": list(run.links),
        "failures": list(run.failures),
        "cost": {name: getattr(run, name) for name in COST},
    }


def _flat(run: dict[str, Any]) -> dict[str, Any]:
    """Flatten the nested values of a run into columns."""
    flat: dict[str, Any] = {}
    for name, value in run.items():
        if name in ("standing", "cost"):
            empty = dict.fromkeys(COST) if name == "cost" else {}
            flat |= {f"{name}_{key}": each for key, each in {**empty, **(value or {})}.items()}
        elif name != "scores":
            flat[name] = _joined(value) if isinstance(value, list) else value
    return flat


def _joined(values: Sequence[object]) -> str:
    return "; ".join(map(str, values))


def _skips(genotype: Genotype) -> dict[str, int]:
    return {kind: counts(genotype, kind)[0] for kind in genotype.cells}


def _contrast(contrast: Contrast) -> dict[str, Any]:
    return {
        **asdict(contrast.comparison),
        "pairs_needed": contrast.pairs_needed,
        "p_holm": contrast.adjusted,
        "told_apart": contrast.told_apart,
    }


def _agreement(made: Agreement) -> dict[str, Any]:
    return {
        "cells": made.runs,
        "distinct": made.distinct,
        "agreement": made.agreement,
        "kept": {
            kind: [
                {"target": target, "source": source, "primitive": primitive, "runs": runs}
                for (target, source, primitive), runs in sorted(kept.items())
            ]
            for kind, kept in made.kept.items()
        },
    }
