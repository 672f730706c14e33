"""The metrics of a run as one table over all its starts."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path
from typing import Any

from nas_lightning.errors import NASError
from nas_lightning.runs.record_file import read_record
from nas_lightning.text import shown
from nas_lightning.text_files import read_text

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

    Raises:
        NASError: The record or a table cannot be read; the message names file and line.
    """
    rows: list[Row] = []
    for start in read_record(run_dir).get("starts", []):
        if "first_step" not in start:  # ended before its first batch
            continue
        rows = [row for row in rows if row["step"] < start["first_step"]]
        rows += _read(run_dir, start)
    return rows


def _read(run_dir: Path, start: dict[str, Any]) -> list[Row]:
    path = run_dir / "csv" / str(start.get("csv")) / "metrics.csv"
    if start.get("csv") is None or not path.is_file():
        return []
    table = csv.reader(StringIO(read_text(path), newline=""), strict=True)
    rows: list[Row] = []
    try:
        names = next(table, [])
        for row in table:
            if len(row) != len(names):
                raise NASError(f"expected {len(names)} values, found {len(row)}")
            rows.append({name: _number(name, x) for name, x in zip(names, row, strict=True) if x})
            if "step" not in rows[-1]:
                raise NASError("there is no value of 'step'")
    except (NASError, csv.Error) as error:
        raise NASError(f"{path}, line {table.line_num}: not a table of metrics: {error}") from error
    return rows


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise NASError(f"expected a number as {shown(name)}, found {shown(text)}") from error
