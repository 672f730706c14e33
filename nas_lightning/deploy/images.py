"""Predictions for image files without labels."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
    network: TrainedNetwork, files: Sequence[Path], top: int = 1
) -> Iterator[Predicted]:
    """Yield the predictions for each image file, in order.

    Args:
        network: The network; it runs on its device.
        files: The files.
        top: Number of classes for each image, the most probable first.

    Raises:
        UsageError: The data of the training does not describe how a file becomes an input, or the
            task predicts no table.
    """
    network.steps()
    for start in range(0, len(files), BATCH):
        group = files[start : start + BATCH]
        inputs: list[Tensor] = []
        problems: dict[Path, str] = {}
        for file in group:
            try:
                inputs.append(network.preprocess(file))
            except DataError as error:
                problems[file] = str(error)
        rows = iter(_rows(network, inputs, top)) if inputs else iter(())
        for file in group:
            problem = problems.get(file)
            yield Predicted(file, () if problem else next(rows), problem)


@torch.no_grad()
def _rows(network: TrainedNetwork, inputs: Sequence[Tensor], top: int) -> list[list[Row]]:
    """Return the rows of each image."""
    output = network(torch.stack(list(inputs)).to(network.device))
    if isinstance(network.task, Classification):
        return [
            [
                {"rank": rank, "class": found.name, "probability": found.probability}
                for rank, found in enumerate(best, start=1)
            ]
            for best in network.best(output, top)
        ]
    columns: dict[str, list[Any]] = {}
    for name, values in network.task.predictions(output).items():
        if values.dim() > 2:
            raise UsageError(
                f"{type(network.task).__name__} predicts arrays, which a table does not hold: use "
                f"nas_lightning.load in Python"
            )
        if values.dim() == 1:
            columns[name] = values.tolist()
            continue
        named = network.classes is not None and len(network.classes) == values.shape[1]
        for number, column in enumerate(values.unbind(dim=1)):
            columns[f"{name} {network.name_of(number) if named else number}"] = column.tolist()
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
