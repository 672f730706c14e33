"""Predictions of `nas predict` as a CSV file, and files of their own for maps of pixels."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from nas_lightning.callbacks.prediction_maps import write_map
from nas_lightning.errors import UsageError


class PredictionWriter(BasePredictionWriter):
    """Write the predictions of the task, one row per sample, in the order of the test set.

    The columns are the index of the sample, its file if the data comes from files, and those of
    the task. A column (B, K) becomes K columns, named by the classes or values of the data; maps
    (B, H, W) become a file for each sample in a folder beside the table, which names it. The row of
    an image that could not be read has no prediction. With several processes, each writes its own
    file `predictions-RANK.csv` with its samples.

    The outputs of a batch are reduced to the predictions at once, since those of all images, with a
    number for each class and pixel, may not fit into memory.

    Args:
        folder: Folder of `predictions.csv`.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(write_interval="batch")
        self.folder = folder
        self._indices: list[int] = []
        self._columns: dict[str, list[Any]] = {}

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the predictions of an earlier run.

        Raises:
            UsageError: The module has no task, which defines the columns.
        """
        self._indices, self._columns = [], {}
        if getattr(pl_module, "task", None) is None:
            raise UsageError(
                f"{type(pl_module).__name__} has no attribute task, which defines the columns of "
                f"the predictions"
            )

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[Any] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Keep the predictions of a batch, and write its maps."""
        found: dict[str, Tensor] = pl_module.task.predictions(prediction)  # type: ignore[operator, union-attr] # a task
        count = len(next(iter(found.values()), ()))
        first = len(self._indices)
        indices = sample_indices([[batch_indices or []]]) or list(range(first, first + count))
        self._indices += indices
        data = trainer.datamodule  # type: ignore[attr-defined] # set by a connector
        for name, column in found.items():
            values = column.detach().cpu()
            if values.dim() > 2:
                names = [self._file(data, index) for index in indices]
                cells = [write_map(self.folder / f"{name}s", *pair)
                         for pair in zip(names, values, strict=True)]  # fmt: skip
                self._extend(name, [str(path.relative_to(self.folder)) for path in cells])
            else:
                labels = (getattr(data, kind, None) for kind in ("class_names", "value_names"))
                for part, cells in named_columns(name, values, *labels):
                    self._extend(part, cells)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the table."""
        data = trainer.datamodule  # type: ignore[attr-defined] # set by a connector
        columns = dict(self._columns)
        names = getattr(data, "class_names", None)
        if names and "class" in columns:
            columns["name"] = [names[label] for label in columns["class"]]
        files = getattr(data, "predicted_files", None)
        named = {} if files is None else {"file": [str(files.files[i]) for i in self._indices]}
        unreadable = set() if files is None else set(files.broken)
        end = "" if trainer.world_size == 1 else f"-{trainer.global_rank}"
        path = self.folder / f"predictions{end}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(["index", *named, *columns])
            rows = zip(self._indices, *named.values(), *columns.values(), strict=True)
            for index, *row in rows:
                lost = bool(named) and row[0] in unreadable
                writer.writerow([index, row[0]] if lost else [index, *row])
        print(f"predictions written to {path}")

    def _extend(self, name: str, cells: Sequence[Any]) -> None:
        self._columns.setdefault(name, []).extend(cells)

    def _file(self, data: object, index: int) -> Path:
        """Return the file of a map, without suffix and relative to the folder of the maps."""
        files = getattr(getattr(data, "predicted_files", None), "files", None)
        if files is None:
            return Path(str(index))
        file: Path = files[index]
        folder = getattr(files, "folder", file.parent)
        return file.relative_to(folder).with_suffix("")


def named_columns(
    name: str, values: Tensor, *labels: Sequence[str] | None
) -> Iterator[tuple[str, list[Any]]]:
    """Yield the columns of values (B,) or (B, K) with their names.

    Args:
        name: Name of the values.
        values: The values, on the CPU.
        labels: Names of the K columns; the first that are as many are taken, else their numbers.
    """
    if values.dim() < 2:
        yield name, values.tolist()
        return
    count = values.shape[1]
    fitting = (names for names in labels if names is not None and len(names) == count)
    for label, column in zip(next(fitting, range(count)), values.unbind(dim=1), strict=True):
        yield f"{name}_{label}", column.tolist()


def sample_indices(batch_indices: Sequence[Any]) -> list[int]:
    """Return the indices of the samples from those of Lightning, batch by batch.

    Our samplers yield pairs of an epoch and an index.
    """
    pairs = [one for loader in batch_indices for batch in loader for one in batch]
    return [one[1] if isinstance(one, tuple) else int(one) for one in pairs]
