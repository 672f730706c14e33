"""Batches as a data module returns them: the first of each loader is compared with `data_spec`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn

from nas_lightning.errors import DataError
from nas_lightning.tasks import Task
from nas_lightning.tasks.parts import describe_part, parts


class Batches:
    """Checks the first batch of each loader, and gives every batch the types of the network.

    Args:
        task: Knows what a batch must be.
        data_spec: Sizes of the data.
    """

    def __init__(self, task: Task, data_spec: Mapping[str, Any]) -> None:
        self.task = task
        self.data_spec = data_spec
        self._seen: set[str] = set()

    def accept(self, batch: Any, dtype: torch.dtype, loader: str, data: object) -> Any:
        """Return a batch in the form that the task takes.

        Args:
            batch: The batch, or a half of it.
            dtype: Type of the network's floating-point numbers.
            loader: Method of the data module that returned its loader, and the half if any.
            data: The data module, or `None`.

        Raises:
            DataError: It is the first of this loader and does not fit the sizes of the data.
        """
        if loader in self._seen:
            return self.task.conform(batch, dtype)
        self._seen.add(loader)
        targets = not loader.startswith("predict")
        wrong = self.task.mismatch(batch, self.data_spec, targets=targets)
        if wrong is not None:
            raise DataError(f"{place(loader, data)}: {wrong}")
        found = self.task.conform(batch, dtype)
        if len(given := parts(batch) or ()) > len(used := parts(found) or ()):
            rank_zero_warn(
                f"{place(loader, data)}: a batch has {len(given)} parts, of which only the first "
                f"{len(used)} are used"
            )
        return found


def halves(batch: Any, data: object) -> tuple[Any, Any]:
    """Return the weight half and the architecture half of a batch of a search.

    Raises:
        DataError: It has no two halves.
    """
    where = place("train_dataloader", data)
    if not isinstance(batch, Mapping) or not {"train", "val"} <= batch.keys():
        raise DataError(
            f'{where}: a batch of a search must be {{"train": …, "val": …}}, found '
            f"{describe_part(batch)}: return a CombinedLoader of the two halves, as "
            f"docs/own_data.md shows"
        )
    for name in ("train", "val"):
        if batch[name] is None:
            raise DataError(
                f"{where}: the half {name!r} ended before the other: give CombinedLoader the mode "
                f"min_size or max_size_cycle"
            )
    return batch["train"], batch["val"]


def place(loader: str, data: object) -> str:
    """Return the name of a loader of a data module, for messages."""
    return loader if data is None else f"{type(data).__name__}.{loader}"
