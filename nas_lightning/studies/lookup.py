"""The true accuracy of cells, and a supernet's ranking of cells against it, for `nas lookup`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from nas_lightning.architecture import Genotype
from nas_lightning.errors import UsageError
from nas_lightning.runs.command import NASCLI, run
from nas_lightning.runs.directory import CONFIG
from nas_lightning.search import SearchModule
from nas_lightning.spaces import load_genotype
from nas_lightning.spaces.nas_bench_201 import from_string, to_string
from nas_lightning.studies.correlation import correlate
from nas_lightning.studies.ground_truth import GroundTruth
from nas_lightning.studies.one_shot import can_score, one_shot_scores
from nas_lightning.studies.statistics import summarize

SEED = 0
"""Seed of the draw of cells: all searches rank the same ones."""
METRIC = "accuracy"


def look_up(truth: GroundTruth, sources: Sequence[str]) -> dict[str, Any]:
    """Look up cells, and summarize their accuracies.

    Args:
        truth: The table.
        sources: Genotype files, architecture strings or run directories.

    Raises:
        NASError: One of them cannot be read, or the table does not hold it.
    """
    rows = []
    for source in sources:
        genotype = _genotype(source)
        standing = truth.standing(genotype)
        rows.append({"source": source, "cell": to_string(genotype), **asdict(standing)})
    found = summarize([row["accuracy"] for row in rows])
    solid = [value for cell, value in truth.accuracies.items() if "none" not in cell]
    return {
        "table": truth.source,
        "cells": rows,
        "mean": found.mean,
        "median": found.median,
        "worst": found.min,
        "best": found.max,
        "all": {"cells": len(truth), "mean": truth.mean, "best": truth.best},
        "without_none": {"cells": len(solid), "mean": fmean(solid) if solid else None},
    }


def rank(
    truth: GroundTruth, search: Path, cells: int | None, batches: int | None
) -> dict[str, Any]:
    """Correlate the one-shot accuracies of cells in a search's supernet with the table.

    Only cells whose operations the supernet has are drawn. All searches with the same operations
    rank the same cells.

    Args:
        truth: The table.
        search: A run directory, or a checkpoint in one.
        cells: Number of cells; `None` means all.
        batches: Batches of the test data for each cell; `None` means all.

    Raises:
        UsageError: It is not the run of a search in the table's space.
    """
    cli = _supernet(search, batches)
    module = cli.model
    if not isinstance(module, SearchModule):
        raise UsageError(f"{search} is not a search: name the run of one by --rank")
    able = [cell for cell in truth if can_score(module, from_string(cell))]
    drawn = able if cells is None else random.Random(SEED).sample(able, min(cells, len(able)))
    scores = one_shot_scores(cli, [from_string(cell) for cell in drawn], METRIC)
    one_shot = [score for score in scores if score is not None]  # the supernet has all of them
    accuracies = [truth.accuracies[cell] for cell in drawn]
    return {
        "search": str(search),
        "of": len(able),
        "correlations": [asdict(found) for found in correlate(one_shot, accuracies)],
        "cells": [
            {"cell": cell, "one_shot": score, "accuracy": accuracy}
            for cell, score, accuracy in zip(drawn, one_shot, accuracies, strict=True)
        ],
    }


def _genotype(source: str) -> Genotype:
    """Load a genotype from a run directory or any other source."""
    if not Path(source).is_dir():
        return load_genotype(source)
    path = Path(source) / "genotype.json"
    if not path.exists():
        raise UsageError(f"{source} holds no {path.name}: it is not the run of a search")
    return Genotype.load(path)


def _supernet(search: Path, batches: int | None) -> NASCLI:
    """Return a search with its trained supernet, ready for tests; write nothing to its folder."""
    run_dir = search if search.is_dir() else search.parent.parent
    if not (run_dir / CONFIG).exists():
        raise UsageError(f"--rank {search}: {run_dir} holds no {CONFIG} of a search")
    given = [] if search.is_dir() else ["--ckpt_path", str(search)]
    if batches is not None:
        given += ["--trainer.limit_test_batches", str(batches)]
    quiet = ["--verbose", "false", "--trainer.logger", "false"]
    return run(
        ["test", "--config", str(run_dir / CONFIG), "--run_dir", str(run_dir), *quiet, *given]
    )


def describe_cells(found: dict[str, Any]) -> str:
    """Return the result of `look_up` as text."""
    width = max(28, *(len(_name(row)) for row in found["cells"]))
    lines = [f"{'':<{width}} {'true %':>7} {'rank':>6} {'better than %':>13} {'regret':>7}  cell"]
    lines += [
        f"{_name(row):<{width}} {100 * row['accuracy']:>7.2f} {row['rank']:>6} "
        f"{row['percentile']:>13.2f} {100 * row['regret']:>7.2f}  {row['cell']}"
        for row in found["cells"]
    ]
    all_cells, solid = found["all"], found["without_none"]
    figures = {name: found[name] for name in ("mean", "median", "worst", "best")}
    figures |= {
        f"mean of all {all_cells['cells']:,}": all_cells["mean"],
        f"mean of {solid['cells']:,} without none": solid["mean"],
        "best of all": all_cells["best"],
    }
    lines += [
        f"{name:<{width}} {100 * value:>7.2f}"
        for name, value in figures.items()
        if value is not None
    ]
    return "\n".join(lines)


def _name(row: dict[str, Any]) -> str:
    """Return the source of a row, unless it is the architecture string of the last column."""
    return "" if row["source"] == row["cell"] else str(row["source"])


def describe_ranking(found: dict[str, Any]) -> str:
    """Return the result of `rank` as text."""
    lines = [
        f"one-shot and true accuracy of {len(found['cells']):,} of {found['of']:,} cells that the "
        f"supernet of {found['search']} holds",
        f"{'':<12} {'value':>7}  {'95 % interval':<17} p",
    ]
    for row in found["correlations"]:
        interval = "-" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        value, p = (
            "-" if row[key] is None else format(row[key], spec)
            for key, spec in (("value", ".3f"), ("p", ".2g"))
        )
        note = f"  ({row['note']})" if row["note"] else ""
        lines.append(f"{row['name']:<12} {value:>7}  {interval:<17} {p}{note}")
    return "\n".join(lines)
