"""Predictions for image files without labels."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas_lightning.callbacks.prediction_maps import write_map
from nas_lightning.callbacks.predictions import named_columns
from nas_lightning.data.classes import printable
from nas_lightning.data.listing import list_all_images
from nas_lightning.deploy.trained import TrainedNetwork
from nas_lightning.errors import DataError, NASError, UsageError
from nas_lightning.files import is_there, replacing
from nas_lightning.tasks import Classification

BATCH = 64
"""Images that are read and predicted together."""
SHOWN = 20
"""Rows of the table that a terminal shows."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Predicted:
    """The predictions for an image file.

    Attributes:
        file: The file.
        rows: Rows of the table without the file; empty if it could not be read.
        problem: Why it could not be read; `None` if it was.
    """

    file: Path
    rows: Sequence[Row]
    problem: str | None = None


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return image files: those given, and all in the given folders and their subfolders, sorted.

    Raises:
        UsageError: A path does not exist, or a folder holds no images.
        DataError: A folder cannot be read.
    """
    found: list[Path] = []
    for path in paths:
        if not is_there(path):
            raise UsageError(f"--images: there is no file or folder {path}")
        if not path.is_dir():
            found.append(path)
            continue
        listed = list(list_all_images(path).files)
        if not listed:
            raise UsageError(f"--images: the folder {path} holds no images")
        found += listed
    return found


def predict_images(
    network: TrainedNetwork, files: Sequence[Path], top: int = 1, folder: Path = Path()
) -> Iterator[Predicted]:
    """Yield the predictions for each image file, in order.

    Maps of pixels are written to files in a folder beside the table, which names them.

    Args:
        network: The network; it runs on its device.
        files: The files.
        top: Number of classes for each image, the most probable first.
        folder: Folder of the table.

    Raises:
        UsageError: The data of the training does not describe how a file becomes an input.
    """
    network.steps()
    maps = _Maps(folder)
    for start in range(0, len(files), BATCH):
        group = files[start : start + BATCH]
        inputs: dict[Path, Tensor] = {}
        problems: dict[Path, str] = {}
        for file in group:
            try:
                inputs[file] = network.preprocess(file)
            except DataError as error:
                problems[file] = str(error)
        rows = dict(zip(inputs, _rows(network, inputs, top, maps), strict=True)) if inputs else {}
        for file in group:
            yield Predicted(file, rows.get(file, ()), problems.get(file))


class _Maps:
    """Files of predicted maps of pixels.

    Args:
        folder: Folder of the table.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken: set[str] = set()

    def write(self, name: str, file: Path, values: Tensor) -> str:
        """Write the map of an image, and return its path relative to the folder of the table."""
        stem, number = file.stem, 1
        while f"{name}/{stem}" in self._taken:  # images of several folders may have one name
            number += 1
            stem = f"{file.stem}-{number}"
        self._taken.add(f"{name}/{stem}")
        found = write_map(self.folder / f"image_{name}s", Path(stem), values)
        return str(found.relative_to(self.folder))


@torch.no_grad()
def _rows(
    network: TrainedNetwork, inputs: Mapping[Path, Tensor], top: int, maps: _Maps
) -> list[list[Row]]:
    """Return the rows of each image."""
    output = network(torch.stack(list(inputs.values())).to(network.device))
    if isinstance(network.task, Classification):
        return [
            [
                {"rank": rank, "class": found.name, "probability": found.probability}
                for rank, found in enumerate(best, start=1)
            ]
            for best in network.best(output, top)
        ]
    columns: dict[str, list[Any]] = {}
    for name, found in network.task.predictions(output).items():
        values = found.cpu()
        if values.dim() > 2:
            pairs = zip(inputs, values, strict=True)
            columns[name] = [maps.write(name, file, one) for file, one in pairs]
        else:
            columns.update(named_columns(name, values, network.classes, network.values))
    return [[dict(zip(columns, row, strict=True))] for row in zip(*columns.values(), strict=True)]


def write_table(path: Path, predictions: Sequence[Predicted]) -> None:
    """Write a CSV file with a row for each prediction; that of an unreadable image is empty.

    Raises:
        NASError: It cannot be written.
    """
    names = list(next(row for found in predictions for row in found.rows))
    try:
        with (
            replacing(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["file", *names])
            for found in predictions:
                for row in found.rows or [dict.fromkeys(names)]:
                    writer.writerow([str(found.file), *row.values()])
            file.flush()
    except OSError as error:
        raise NASError(f"cannot write {path}: {error.strerror}") from error


def table(predictions: Sequence[Predicted]) -> str:
    """Return the first rows as a table for a terminal."""
    rows = [(found.file, row) for found in predictions for row in found.rows]
    cells = [["file", *rows[0][1]]]
    cells += [[printable(str(file)), *map(_cell, row.values())] for file, row in rows[:SHOWN]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(f"{x:<{n}}" for x, n in zip(row, widths, strict=True)) for row in cells]
    if len(rows) > SHOWN:
        lines.append(f"and {len(rows) - SHOWN:,} more rows")
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value))
