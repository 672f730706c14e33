"""The interface of `nas lookup` to its files, and the lookup in a table of true accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any, Protocol

from nas_lightning.spaces import load_genotype
from nas_lightning.studies.ground_truth import GroundTruth
from nas_lightning.studies.statistics import summarize


class Lookup(Protocol):
    """Looks up the accuracy of cells in one or more files."""

    def look_up(self, sources: Sequence[str]) -> dict[str, Any]:
        """Look up genotype files, architecture strings, published names or run directories.

        The result is plain data and has a row for each source under `cells`.
        """

    def describe(self, found: dict[str, Any]) -> str:
        """Return the result of `look_up` as text."""


class TrueAccuracies:
    """Answers of a benchmark's table.

    Args:
        truth: The table.
    """

    def __init__(self, truth: GroundTruth) -> None:
        self.truth = truth

    def look_up(self, sources: Sequence[str]) -> dict[str, Any]:
        """Look up cells, and summarize their accuracies.

        Args:
            sources: Genotype files, architecture strings or run directories.

        Raises:
            NASError: One of them cannot be read, or the table does not hold it.
        """
        truth = self.truth
        rows = []
        for source in sources:
            genotype = load_genotype(source)
            standing = truth.standing(genotype)
            rows.append(
                {"source": source, "cell": truth.benchmark.write(genotype), **asdict(standing)}
            )
        found = summarize([row["accuracy"] for row in rows])
        none = truth.benchmark.none
        solid = [value for cell, value in truth.accuracies.items() if none and none not in cell]
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

    def describe(self, found: dict[str, Any]) -> str:
        """Return the result of `look_up` as text."""
        width = max(28, *(len(_name(row)) for row in found["cells"]))
        lines = [
            f"{'':<{width}} {'true %':>7} {'rank':>6} {'better than %':>13} {'regret':>7}  cell"
        ]
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
