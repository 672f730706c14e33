"""Predictions of `nas predict` as a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from nas_lightning.errors import UsageError


class PredictionWriter(BasePredictionWriter):
    """Write the predictions of the task, one row per sample, in the order of the test set.

    The columns are the index of the sample, its file if the data comes from files, and those of
    the task. The row of an image that could not be read has no prediction. With several
    processes, each writes its own file `predictions-RANK.csv` with its samples.

    Args:
        folder: Folder of `predictions.csv`.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(write_interval="epoch")
        self.folder = folder

    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Write the file.

        Raises:
            UsageError: The module has no task, which defines the columns.
        """
        task = getattr(pl_module, "task", None)
        if task is None:
            raise UsageError(
                f"{type(pl_module).__name__} has no attribute task, which defines the columns of "
                f"the predictions"
            )
        columns = {
            name: column.tolist()
            for name, column in task.predictions(torch.cat(list(predictions))).items()
        }
        names = getattr(trainer.datamodule, "class_names", None)  # type: ignore[attr-defined] # set by a connector
        if names and "class" in columns:
            columns["name"] = [names[label] for label in columns["class"]]
        count = len(next(iter(columns.values()), ()))
        indices = sample_indices(batch_indices) or list(range(count))
        files = getattr(trainer.datamodule, "predicted_files", None)  # type: ignore[attr-defined] # set by a connector
        named = {} if files is None else {"file": [str(files.files[i]) for i in indices]}
        unreadable = set() if files is None else set(files.broken)
        end = "" if trainer.world_size == 1 else f"-{trainer.global_rank}"
        path = self.folder / f"predictions{end}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(["index", *named, *columns])
            for index, *row in zip(indices, *named.values(), *columns.values(), strict=True):
                lost = bool(named) and row[0] in unreadable
                writer.writerow([index, row[0]] if lost else [index, *row])
        print(f"predictions written to {path}")


def sample_indices(batch_indices: Sequence[Any]) -> list[int]:
    """Return the indices of the samples from those of Lightning, batch by batch.

    Our samplers yield pairs of an epoch and an index.
    """
    pairs = [one for loader in batch_indices for batch in loader for one in batch]
    return [one[1] if isinstance(one, tuple) else int(one) for one in pairs]
