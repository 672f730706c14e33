"""Really trained DARTS cells, against which a surrogate's ranking is measured."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput
from nas_lightning.errors import DataError, UsageError
from nas_lightning.spaces.darts import DartsSpace
from nas_lightning.studies.correlation import correlate
from nas_lightning.studies.surrogate.models import Surrogate
from nas_lightning.text import one_line, shown
from nas_lightning.text_files import read_text

COLUMN = "max_test_acc"
KINDS = ("normal", "reduce")
LINE = 300
"""Characters of a list of columns."""


class TrainedCells:
    """Cells and their measured accuracies.

    Args:
        cells: The cells.
        accuracies: Accuracy of each, in percent.
        source: Their file.
        column: Its column of accuracies.
    """

    def __init__(
        self, cells: Sequence[Genotype], accuracies: Sequence[float], source: str, column: str
    ) -> None:
        self.cells = cells
        self.accuracies = accuracies
        self.source = source
        self.column = column

    @classmethod
    def load(cls, path: Path, column: str | None = None) -> TrainedCells:
        """Read a CSV file with the columns `normal`, `reduce` and columns of accuracies in percent.

        A cell is written `op:input op:input …`, two pairs for each of nodes 2 to 5; inputs 0 and 1
        are those of the cell.

        Args:
            path: The file.
            column: The column of accuracies; `max_test_acc` by default.

        Raises:
            UsageError: It has no such column.
            DataError: It cannot be read, or has a malformed row, whose line is named.
        """
        wanted = column or COLUMN
        rows = csv.DictReader(StringIO(read_text(path, error=DataError), newline=""))
        cells, accuracies = [], []
        try:
            names = rows.fieldnames or ()
            if not {*KINDS} <= set(names):
                raise DataError(f"{path} lists no cells: it needs the columns normal and reduce")
            if wanted not in names:
                known = one_line(", ".join(n for n in names if n not in KINDS), LINE)
                raise UsageError(f"{path} has no column {shown(wanted)}; it has {known}")
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                found = {kind: _cell(row[kind] or "", where) for kind in KINDS}
                cells.append(Genotype(DartsSpace(), found))
                accuracies.append(_accuracy(row[wanted], where))
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num}: not valid CSV: {error}") from error
        return cls(cells, accuracies, str(path), wanted)

    def error_of(self, surrogate: Surrogate) -> dict[str, Any]:
        """Return the rank correlations of a surrogate with the measured accuracies.

        Returns:
            `n`, the number of cells; `file`, `column`; and `correlations`, Spearman's and Kendall's
            with a 95 % interval (bootstrap over the cells).

        Raises:
            UsageError: The surrogate does not know one of the cells.
        """
        predicted = [surrogate.predict(cell) for cell in self.cells]
        _, spearman, kendall = correlate(predicted, self.accuracies)
        return {
            "n": len(self.cells),
            "file": self.source,
            "column": self.column,
            "correlations": [asdict(spearman), asdict(kendall)],
        }


def _cell(text: str, where: str) -> CellGenotype:
    pairs = [pair.rpartition(":") for pair in text.split()]
    if len(pairs) != 8 or not all(
        op and source.isascii() and source.isdecimal() and int(source[:3]) < 2 + i // 2
        for i, (op, _, source) in enumerate(pairs)
    ):
        raise DataError(f"{where}: expected 8 pairs op:input of a cell, found {shown(text)}")
    edges = [NodeInput(op, int(source)) for op, _, source in pairs]
    return CellGenotype(tuple(tuple(edges[i : i + 2]) for i in (0, 2, 4, 6)), (2, 3, 4, 5))


def _accuracy(text: str | None, where: str) -> float:
    try:
        found = float(text or "")
    except ValueError:
        found = math.nan
    if not 0 <= found <= 100:
        raise DataError(f"{where}: expected an accuracy of 0 to 100 %, found {shown(text)}")
    return found
