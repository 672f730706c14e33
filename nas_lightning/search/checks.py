"""Check that a trainer and its data fit a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning import Trainer

from nas_lightning.distributed import finds_unused_parameters
from nas_lightning.errors import DataError, UsageError
from nas_lightning.search.strategy import SearchStrategy
from nas_lightning.training.batches import place


def check_run(trainer: Trainer, strategies: Sequence[SearchStrategy]) -> None:
    """Check the settings of a run of a search.

    Raises:
        UsageError: The precision is fp16, the data module is not in the mode `search`, or DDP waits
            for gradients that a strategy does not compute.
    """
    if trainer.precision == "16-mixed":
        raise UsageError("precision 16-mixed loses architecture gradients: use bf16-mixed")
    if getattr(trainer.datamodule, "mode", "search") != "search":  # type: ignore[attr-defined] # set by a connector
        raise UsageError("a search needs the two halves of the data: set data mode to search")
    if finds_unused_parameters(trainer):
        return
    for strategy in strategies:
        if strategy.leaves_parameters_unused:
            raise UsageError(
                f"{type(strategy).__name__} leaves weights without a gradient in a step: set "
                f"trainer.strategy to ddp_find_unused_parameters_true"
            )


def check_halves(trainer: Trainer) -> None:
    """Check that no half of the data ends before the other.

    Raises:
        DataError: The loaders of the halves are combined in the mode `max_size` and differ in
            length.
    """
    loader: Any = trainer.fit_loop._combined_loader
    if loader is None or getattr(loader, "_mode", "") != "max_size":
        return
    lengths = [len(half) if hasattr(half, "__len__") else None for half in loader.flattened]
    if len(set(lengths)) > 1:
        where = place("train_dataloader", trainer.datamodule)  # type: ignore[attr-defined] # set by a connector
        raise DataError(
            f"{where}: the halves have {' and '.join(map(str, lengths))} batches, and the mode "
            f"max_size leaves the longer one alone: give CombinedLoader the mode min_size or "
            f"max_size_cycle"
        )
