"""Image files with a row of a CSV table each, for several labels or for numbers."""

from __future__ import annotations

import csv
import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nas_lightning.data.classes import named, printable
from nas_lightning.data.file_list import FileList
from nas_lightning.data.listing import list_all_images
from nas_lightning.data.targeted import TargetedFiles, TargetedImages
from nas_lightning.errors import DataError
from nas_lightning.text import few, shown
from nas_lightning.text_files import read_text

NAME = "labels.csv"


class Table(NamedTuple):
    """A table with a row for each image.

    Attributes:
        names: Names of the columns after the first.
        files: First column, the image files relative to the folder of the table.
        values: The other columns (N, K), in double precision.
    """

    names: tuple[str, ...]
    files: list[str]
    values: Tensor


def read_table(path: Path) -> Table:
    """Read a table of numbers: a row of names, then a row for each image, its file first.

    Raises:
        DataError: It is missing or malformed. The message names file and line.
    """
    if not path.is_file():
        raise DataError(
            f"There is no table {str(path)!r}: write one, with a first line such as file,NAME,NAME "
            "and a line for each image."
        )
    files: dict[str, int] = {}
    rows: list[list[float]] = []
    lines = _lines(path)
    _, (_, *names) = next(lines, (1, [""]))
    if not names or len(set(names)) < len(names) or not all(names):
        raise DataError(
            f"{path}, line 1: expected a name for the file and a different one for each column, "
            f"found {few([shown(name) for name in names]) or 'no column'}"
        )
    for line, (file, *cells) in lines:
        if len(cells) != len(names):
            raise DataError(
                f"{path}, line {line}: expected {len(names) + 1} cells, found {len(cells) + 1}"
            )
        if file in files:
            raise DataError(f"{path}, line {line}: {shown(file)} is in line {files[file]}, too")
        files[file] = line
        rows.append([_number(path, line, *pair) for pair in zip(names, cells, strict=True)])
    if not rows:
        raise DataError(f"{path} has no image: add a line for each.")
    return Table(tuple(names), list(files), torch.tensor(rows, dtype=torch.float64))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each line that is not empty."""
    reader = csv.reader(StringIO(read_text(path, error=DataError), newline=""), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a CSV table: {error}") from error


def _number(path: Path, line: int, name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{path}, line {line}: {shown(text)} in the column {shown(name)} is not a finite number"
        )
    return number


class TabledImages(TargetedImages):
    """Images in `root/train` with a row of `root/train/labels.csv` each; see `TargetedImages`.

    Args:
        root: Folder that contains `train` and `test` or `val`.
        kwargs: Arguments of `TargetedImages`.

    Raises:
        UsageError: An argument is out of range.
        DataError: There is no table, or it is malformed.
    """

    def __init__(self, root: str = "data", **kwargs: Any) -> None:
        super().__init__(root=root, **kwargs)
        parts = (Path(root) / part / NAME for part in ("train", "test", "val"))
        self._names = read_table(
            next((path for path in parts if path.is_file()), Path(root) / "train" / NAME)
        ).names

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self._names

    @abstractmethod
    def checked(self, path: Path, table: Table) -> Tensor:
        """Return the targets (N, K) of a table.

        Raises:
            DataError: A number has no meaning.
        """

    def open(self, folder: Path) -> TargetedFiles:
        """List the images of the table in a folder."""
        path = folder / NAME
        table = read_table(path)
        if table.names != self.outputs:
            raise DataError(
                f"{path} has the columns {few([shown(name) for name in table.names])}, but the "
                f"training set has {few([shown(name) for name in self.outputs])}, in this order: "
                "name them alike."
            )
        found = list_all_images(folder)
        there = {str(image.relative_to(folder)) for image in found.files}
        for file in table.files:
            if file not in there:
                raise DataError(
                    f"{path}: there is no image {shown(file)} in {str(folder)!r}: add it, or "
                    f"remove the line"
                )
        found.ignored.other -= Counter({".csv": 1})  # the table itself
        self.note_ignored(folder, found.ignored)
        if more := len(there) - len(table.files):
            self._notes.append((f"ignored in {folder.name}/", f"{more:,} images not in {NAME}"))
        targets = self.checked(path, table)
        files = FileList(folder, table.files)
        return TargetedFiles(files, _Rows(targets), self.background, self.white)


class _Rows:
    """The rows of a table.

    Args:
        values: The targets (N, K).
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __call__(self, index: int, image: object) -> Tensor:
        """Return the row (K,) of an image."""
        return self.values[index]


class ImageLabels(TabledImages):
    """Images with several labels each, or none, from `root/train/labels.csv`.

    The first line of the table has the names of the labels after a name for the file, and each
    further line an image file and 0 or 1 for each label. A batch is `(x, y)`: images x
    (B, 3, S, S) and labels y (B, L) of 0 and 1. The test set is in `root/test` in the same way, see
    `TargetedImages`.

    Args:
        root: Folder that contains `train` and `test` or `val`.
        kwargs: Arguments of `TargetedImages`.

    Raises:
        UsageError: An argument is out of range.
        DataError: There is no table, or it is malformed.
    """

    word = "labels"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the labels."""
        return self.outputs

    def checked(self, path: Path, table: Table) -> Tensor:
        """Return the labels (N, L), and note those that no image has."""
        wrong = ((table.values != 0) & (table.values != 1)).nonzero()
        if len(wrong):
            row, column = wrong[0].tolist()
            raise DataError(
                f"{path}: {shown(table.files[row])} has {table.values[row, column]:g} in the "
                f"column {shown(table.names[column])}: write 0 or 1"
            )
        absent = (table.values.sum(dim=0) == 0).nonzero().flatten().tolist()
        if absent:
            text = f"no image of {named(absent, table.names)} in {path.parent.name}/"
            self._notes.append(("warning", text))
        return table.values.to(torch.uint8)


class ImageValues(TabledImages):
    """Images with one or more numbers each, from `root/train/labels.csv`.

    The first line of the table has the names of the values after a name for the file, and each
    further line an image file and its numbers. A batch is `(x, y)`: images x (B, 3, S, S) and
    values y (B, K) in double precision. The start of a run says mean and standard deviation of the
    training set, for `center` and `scale` of `Regression`. The test set is in `root/test` in the
    same way, see `TargetedImages`.

    Args:
        root: Folder that contains `train` and `test` or `val`.
        kwargs: Arguments of `TargetedImages`.

    Raises:
        UsageError: An argument is out of range.
        DataError: There is no table, or it is malformed.
    """

    word = "values"

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values."""
        return self.outputs

    @property
    def meaning(self) -> dict[str, Any]:
        """The names of the values, and how images are normalised."""
        return {**super().meaning, "values": list(self.outputs)}

    def checked(self, path: Path, table: Table) -> Tensor:
        """Return the values (N, K), and note their mean and deviation in the training set."""
        if path.parent.name == "train":
            means, deviations = table.values.mean(0), table.values.std(0, correction=0)
            for name, mean, deviation in zip(table.names, means, deviations, strict=True):
                text = f"mean {mean:.5g}, standard deviation {deviation:.5g}"
                self._notes.append((printable(name), text))
        return table.values
