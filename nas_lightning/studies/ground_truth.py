"""A table of true accuracies: the accuracy of each trained network of a benchmark."""

from __future__ import annotations

import bisect
import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from itertools import chain
from pathlib import Path
from statistics import fmean

from nas_lightning.architecture import Genotype
from nas_lightning.errors import DataError, GenotypeError, UsageError
from nas_lightning.studies.benchmarks import NAS_BENCH_201, Benchmark, benchmark_of
from nas_lightning.text import one_line, shown
from nas_lightning.text_files import read_text

LINE = 300
"""Characters of a list of columns."""
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
        benchmark: The benchmark of the strings.
    """

    def __init__(
        self, accuracies: Mapping[str, float], source: str, benchmark: Benchmark = NAS_BENCH_201
    ) -> None:
        self.accuracies = dict(accuracies)
        self.source = source
        self.benchmark = benchmark
        self._sorted = sorted(self.accuracies.values())

    @classmethod
    def load(
        cls, path: Path, column: str | None = None, benchmark: Benchmark | None = None
    ) -> GroundTruth:
        """Read a table: a CSV file with the column `arch` and columns of accuracies in percent.

        The files of NAS-Bench-201 and NATS-Bench themselves are refused: they are pickles.

        Args:
            path: The file.
            column: Column of the accuracies; by default that of NAS-Bench-201's `cifar10_test`, or
                the mean of the three columns of NAS-Bench-Macro.
            benchmark: The benchmark; by default the one that the first architecture string is of.

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
            first = next(rows, None)
            kind = benchmark or benchmark_of((first or {}).get(KEY) or "")
            entries = rows if first is None else chain([first], rows)
            return cls(_read(rows, entries, path, column, kind), str(path), kind)
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
        if not isinstance(genotype.space, self.benchmark.space):
            raise UsageError(
                f"the table {self.source} is of the space {self.benchmark.name!r}, the cell of "
                f"{genotype.space.name!r}"
            )
        cell = self.benchmark.write(genotype)
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


def _read(
    rows: csv.DictReader[str],
    entries: Iterable[Mapping[str, str | None]],
    path: Path,
    column: str | None,
    benchmark: Benchmark,
) -> dict[str, float]:
    """Return the accuracies; `rows` knows the columns and the present line of `entries`."""
    columns = [name for name in rows.fieldnames or () if name != KEY]
    if KEY not in (rows.fieldnames or ()):
        raise DataError(f"{path} is not a table of accuracies: it has no column {KEY!r}")
    wanted = benchmark.columns if column is None else (column,)
    if missing := [name for name in wanted if name not in columns]:
        known = one_line(", ".join(columns), LINE) or f"{KEY!r} only"
        raise UsageError(
            f"{path} has no column {shown(missing[0])}: choose one by --column; it has {known}"
        )
    table: dict[str, float] = {}
    for row in entries:
        where = f"{path}, line {rows.line_num}"
        cell = row[KEY] or ""
        try:
            benchmark.read(cell)
        except GenotypeError as error:
            raise DataError(f"{where}: {error}") from error
        if cell in table:
            raise DataError(f"{where}: the cell {cell} occurs a second time")
        table[cell] = fmean(_accuracy(row[name], where) for name in wanted)
    if not table:
        raise DataError(f"the table {path} holds no cell")
    return table


def _accuracy(percent: str | None, where: str) -> float:
    """Return an accuracy, 0 to 1."""
    try:
        accuracy = float(percent or "") / 100
    except ValueError:
        accuracy = math.nan
    if not 0 <= accuracy <= 1:
        raise DataError(f"{where}: expected an accuracy of 0 to 100 %, found {shown(percent)}")
    return accuracy
