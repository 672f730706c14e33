"""A supernet's ranking of cells against their true accuracy, for `nas lookup --rank`."""

from __future__ import annotations

import random
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas_lightning.errors import UsageError
from nas_lightning.runs.command import NASCLI, run
from nas_lightning.runs.directory import CONFIG
from nas_lightning.search import SearchModule
from nas_lightning.studies.correlation import correlate
from nas_lightning.studies.ground_truth import GroundTruth
from nas_lightning.studies.one_shot import can_score, one_shot_scores

SEED = 0
"""Seed of the draw of cells: all searches rank the same ones."""
METRIC = "accuracy"


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
    read = truth.benchmark.read
    able = [cell for cell in truth if can_score(module, read(cell))]
    drawn = able if cells is None else random.Random(SEED).sample(able, min(cells, len(able)))
    scores = one_shot_scores(cli, [read(cell) for cell in drawn], METRIC)
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


def _supernet(search: Path, batches: int | None) -> NASCLI:
    """Return a search with its trained supernet, ready for tests; write nothing to its folder."""
    run_dir = search if search.is_dir() else search.parent.parent
    if not (run_dir / CONFIG).exists():
        raise UsageError(f"--rank {search}: {run_dir} holds no {CONFIG} of a search")
    given = [] if search.is_dir() else ["--ckpt_path", str(search)]
    if batches is not None:
        given += ["--trainer.limit_test_batches", str(batches)]
    quiet = ["--verbose", "false", "--trainer.logger", "false"]
    with redirect_stdout(sys.stderr):  # it says what data it found; stdout is the result's
        return run(
            ["test", "--config", str(run_dir / CONFIG), "--run_dir", str(run_dir), *quiet, *given]
        )


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
