"""The metrics of a run as one table over all its starts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from nas_lightning.runs.record_file import read_record

Row = dict[str, float]


def read_metrics(run_dir: Path) -> list[Row]:
    """Read the rows that a run has logged, in order, as if it had never been interrupted.

    Rows that a killed run had logged after the checkpoint it later resumed from are left out: the
    next start logged them again.

    Args:
        run_dir: The run directory.

    Returns:
        Rows of values by name. `step` is the number of batches before the row; a row holds only
        the values that were logged together.
    """
    rows: list[Row] = []
    for start in read_record(run_dir).get("starts", []):
        if "first_step" not in start:  # ended before its first batch
            continue
        rows = [row for row in rows if row["step"] < start["first_step"]]
        rows += _read(run_dir, start)
    return rows


def _read(run_dir: Path, start: dict[str, Any]) -> list[Row]:
    path = run_dir / "csv" / str(start["csv"]) / "metrics.csv"
    if start["csv"] is None or not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        return [{name: float(text) for name, text in row.items() if text} for row in table]
