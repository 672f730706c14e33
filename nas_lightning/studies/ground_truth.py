"""A table of true accuracies: the accuracy of each trained cell of NAS-Bench-201."""

from __future__ import annotations

import bisect
import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import fmean

from nas_lightning.architecture import Genotype
from nas_lightning.errors import DataError, GenotypeError, UsageError
from nas_lightning.spaces.nas_bench_201 import NasBench201Space, from_string, to_string
from nas_lightning.text import one_line, shown
from nas_lightning.text_files import read_text

LINE = 300
"""Characters of a list of columns."""
COLUMN = "cifar10_test"
KEY = "arch"
PICKLES = (".pth", ".pbz2", ".pickle", ".pkl")
"""Endings of the benchmark's own files."""


@dataclass(frozen=True)
class Standing:
    """The position of a cell among all.

    Attributes:
        accuracy: True accuracy, 0 to 1.
        rank: Rank; 1 is the best, and cells of equal accuracy share a rank.
        of: Number of cells.
        percentile: Percentage of the other cells that are worse.
        regret: Accuracy of the best cell less that of this one, 0 to 1.
    """

    accuracy: float
    rank: int
    of: int
    percentile: float
    regret: float


class GroundTruth:
    """True accuracies of cells.

    Args:
        accuracies: Accuracy, 0 to 1, by architecture string.
        source: Their file, for messages.
    """

    def __init__(self, accuracies: Mapping[str, float], source: str) -> None:
        self.accuracies = dict(accuracies)
        self.source = source
        self._sorted = sorted(self.accuracies.values())

    @classmethod
    def load(cls, path: Path, column: str | None = None) -> GroundTruth:
        """Read a table: a CSV file with the column `arch` and columns of accuracies in percent.

        The files of NAS-Bench-201 and NATS-Bench themselves are refused: they are pickles.

        Args:
            path: The file.
            column: Column of the accuracies; `cifar10_test` by default.

        Raises:
            UsageError: It has no such column; the message lists those that it has.
            DataError: It is missing, no such table, or has a malformed row, whose line is named.
        """
        if path.is_dir() or path.suffix in PICKLES:
            raise DataError(
                f"{path} holds pickles, and reading them would run any code that they name: export "
                f"them to a CSV file, as docs/methods/nas_bench_201.md shows"
            )
        rows = csv.DictReader(StringIO(read_text(path, error=DataError), newline=""))
        try:
            return cls(_read(rows, path, column or COLUMN), str(path))
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num}: not valid CSV: {error}") from error

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.accuracies)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the architecture strings, in the order of the table."""
        return iter(self.accuracies)

    @property
    def best(self) -> float:
        """The highest accuracy, 0 to 1."""
        return self._sorted[-1]

    @property
    def mean(self) -> float:
        """Mean accuracy of all cells, 0 to 1."""
        return fmean(self._sorted)

    def accuracy(self, genotype: Genotype) -> float:
        """Return the true accuracy of a cell, 0 to 1; an edge that it does not have is `none`.

        Raises:
            GenotypeError: It has two operations on one edge.
            UsageError: It is of another space, or the table does not hold it.
        """
        if not isinstance(genotype.space, NasBench201Space):
            raise UsageError(
                f"the table {self.source} is of the space 'nas_bench_201', the cell of "
                f"{genotype.space.name!r}"
            )
        cell = to_string(genotype)
        if cell not in self.accuracies:
            raise UsageError(f"the table {self.source} does not hold the cell {cell}")
        return self.accuracies[cell]

    def standing(self, genotype: Genotype) -> Standing:
        """Return the position of a cell among all.

        Raises:
            GenotypeError: It has two operations on one edge.
            UsageError: It is of another space, or the table does not hold it.
        """
        accuracy = self.accuracy(genotype)
        worse = bisect.bisect_left(self._sorted, accuracy)
        better = len(self) - bisect.bisect_right(self._sorted, accuracy)
        percentile = 100.0 * worse / (len(self) - 1) if len(self) > 1 else 100.0
        return Standing(accuracy, 1 + better, len(self), percentile, self.best - accuracy)


def _read(rows: csv.DictReader[str], path: Path, column: str) -> dict[str, float]:
    columns = [name for name in rows.fieldnames or () if name != KEY]
    if KEY not in (rows.fieldnames or ()):
        raise DataError(f"{path} is not a table of accuracies: it has no column {KEY!r}")
    if column not in columns:
        known = one_line(", ".join(columns), LINE) or f"{KEY!r} only"
        raise UsageError(
            f"{path} has no column {shown(column)}: choose one by --column; it has {known}"
        )
    table: dict[str, float] = {}
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        cell, accuracy = _entry(row[KEY], row[column], where)
        if cell in table:
            raise DataError(f"{where}: the cell {cell} occurs a second time")
        table[cell] = accuracy
    if not table:
        raise DataError(f"the table {path} holds no cell")
    return table


def _entry(cell: str | None, percent: str | None, where: str) -> tuple[str, float]:
    """Return a cell and its accuracy, 0 to 1."""
    try:
        from_string(cell or "")
    except GenotypeError as error:
        raise DataError(f"{where}: {error}") from error
    try:
        accuracy = float(percent or "") / 100
    except ValueError:
        accuracy = math.nan
    if not 0 <= accuracy <= 1:
        raise DataError(f"{where}: expected an accuracy of 0 to 100 %, found {shown(percent)}")
    assert cell is not None
    return cell, accuracy
