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

    With several processes, each writes its own file `predictions-RANK.csv`.

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
        end = "" if trainer.world_size == 1 else f"-{trainer.global_rank}"
        path = self.folder / f"predictions{end}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["index", *columns])
            writer.writerows(
                [index, *row] for index, row in enumerate(zip(*columns.values(), strict=True))
            )
        print(f"predictions written to {path}")
