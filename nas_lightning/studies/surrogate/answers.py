"""`nas lookup` in the DARTS space: predictions with their protocol, error and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas_lightning.architecture import CellGenotype, Genotype
from nas_lightning.errors import UsageError
from nas_lightning.spaces import load_genotype
from nas_lightning.studies.surrogate.encoding import Encoding
from nas_lightning.studies.surrogate.models import EPOCH, Surrogate
from nas_lightning.studies.surrogate.trained import TrainedCells
from nas_lightning.text import shown

WEIGHTLESS = ("skip_connect", "max_pool_3x3", "avg_pool_3x3")
MOST = 4
"""Edges of a normal cell, of 8, that may be skip connections or pools without a flag."""
WHAT = "predicted validation accuracy, NAS-Bench-301 surrogate"
PROTOCOL = (
    f"validation accuracy on CIFAR-10 in the training protocol of NAS-Bench-301 at epoch {EPOCH}, "
    "as a model predicts it: not measured, and not comparable with test accuracies"
)
RULE = (
    f"more than {MOST} of the 8 edges of the normal cell are skip connections or pools: the "
    "model of 2021 does not see that such cells may collapse"
)


class SurrogateLookup:
    """Predictions of one or more surrogates; the first one is the main one.

    Args:
        surrogates: The models.
        trained: Trained cells on which their error is measured, if there are some.
    """

    def __init__(
        self, surrogates: Sequence[Surrogate], trained: TrainedCells | None = None
    ) -> None:
        self.surrogates = surrogates
        self.trained = trained

    @classmethod
    def load(
        cls,
        tables: Sequence[Path],
        encoding: Path | None = None,
        trained: Path | None = None,
        column: str | None = None,
    ) -> SurrogateLookup:
        """Read the files.

        Args:
            tables: The models.
            encoding: Their encoding; by default the one beside each.
            trained: CSV file of trained cells.
            column: Its column of accuracies.

        Raises:
            NASError: A file cannot be read or is something else.
        """
        if column and trained is None:
            raise UsageError("--column is a column of --trained: name that file too")
        shared = None if encoding is None else Encoding.load(encoding)
        models = [Surrogate.load(path, shared) for path in tables]
        return cls(models, None if trained is None else TrainedCells.load(trained, column))

    def look_up(self, sources: Sequence[str]) -> dict[str, Any]:
        """Predict the accuracies of cells.

        Raises:
            NASError: One of them cannot be read, or a surrogate does not know such cells.
        """
        rows = []
        for source in sources:
            genotype = load_genotype(source)
            try:
                predicted = [one.predict(genotype) for one in self.surrogates]
            except UsageError as error:
                raise UsageError(f"{shown(source)}: {error}") from error
            counts = {kind: weightless(cell) for kind, cell in genotype.cells.items()}
            rows.append(
                {
                    "source": source,
                    "predicted": predicted[0],
                    "others": predicted[1:],
                    "weightless": counts,
                    "flagged": is_flagged(genotype),
                }
            )
        return {
            "what": WHAT,
            "protocol": PROTOCOL,
            "flag": RULE,
            "models": [
                {"name": one.name, "error": self.trained and self.trained.error_of(one)}
                for one in self.surrogates
            ],
            "cells": rows,
        }

    def describe(self, found: dict[str, Any]) -> str:
        """Return the result of `look_up` as text."""
        rows, models = found["cells"], found["models"]
        lines = [f"{found['what']}: {found['protocol']}.", ""]
        if rows:
            width = max(16, *(len(row["source"]) for row in rows))
            others = "".join(f" {f'model {i} %':>10}" for i in range(2, 1 + len(models)))
            lines.append(f"{'':<{width}} {'predicted %':>11}{others}  skips and pools")
            lines += [_line(row, width) for row in rows]
            if any(row["flagged"] for row in rows):
                lines.append(f"*  {found['flag']}.")
            lines.append("")
        for number, model in enumerate(models, start=1):
            lines.append(f"model {number}, {model['name']}: {describe_error(model['error'])}")
        return "\n".join(lines)


def weightless(cell: CellGenotype) -> int:
    """Return the number of skip connections and pools of a cell."""
    return sum(edge.primitive in WEIGHTLESS for node in cell.nodes for edge in node)


def is_flagged(genotype: Genotype) -> bool:
    """Return True if a genotype has many skip connections or pools, by `RULE`."""
    return weightless(genotype.cells["normal"]) > MOST


def _line(row: dict[str, Any], width: int) -> str:
    others = "".join(f" {100 * value:>10.2f}" for value in row["others"])
    counts = ", ".join(f"{kind} {count} of 8" for kind, count in row["weightless"].items())
    flag = " *" if row["flagged"] else ""
    return f"{row['source']:<{width}} {100 * row['predicted']:>11.2f}{others}  {counts}{flag}"


def describe_error(error: Mapping[str, Any] | None) -> str:
    """Return the error of a model as text, see `TrainedCells.error_of`."""
    if error is None:
        return "error not measured; --trained FILE measures it on trained cells"
    parts = []
    for one in error["correlations"]:
        interval = "no interval" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}"
        value = "undefined" if one["value"] is None else f"{one['value']:.3f} ({interval})"
        parts.append(f"{one['name']} {value}")
    return (
        f"{', '.join(parts)} with {error['column']} of {error['n']} trained cells of "
        f"{error['file']} (95 % bootstrap intervals)"
    )
