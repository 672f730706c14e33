"""Checks of the metrics that callbacks monitor, made before a run starts."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities.model_helpers import is_overridden

from nas_lightning.callbacks import RunCheckpoint
from nas_lightning.callbacks.cell_agreement import PREFIX
from nas_lightning.callbacks.search_monitor import PREFIXES
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule
from nas_lightning.training.monitoring import logged_metrics, mode_of, named_metric

OURS = ("nas_lightning.", "lightning.pytorch.")
"""Modules whose classes log nothing that is not known here."""
SHOWN = 3
"""Largest number of names that a message suggests."""


def check_monitors(trainer: Trainer, module: LightningModule, data: LightningDataModule) -> None:
    """Check that every monitored metric is logged, and in which direction it is better.

    An `EarlyStopping` on a metric that is missing in some epochs, such as the outer loss during a
    warm-up, skips them.

    Args:
        trainer: The trainer, with its callbacks.
        module: Module of the run.
        data: Data module of the run.

    Raises:
        UsageError: A metric is not logged, or not in this run, or its direction is another one.
    """
    known = logged_metrics(module)
    for callback in trainer.callbacks:  # type: ignore[attr-defined] # set by a connector
        monitor = getattr(callback, "monitor", None)
        if not isinstance(monitor, str):
            continue
        if own := isinstance(callback, RunCheckpoint):
            monitor = named_metric(module, monitor)
        where = "checkpoint" if own else f"trainer.callbacks: {type(callback).__name__}"
        if monitor in logged_metrics(module, ("val",)):
            _check_validation(trainer, data, f"{where}.monitor {monitor}")
        if monitor in known or monitor.startswith(_prefixes(module)):
            if isinstance(callback, EarlyStopping):
                callback.strict = False
        elif _is_closed(trainer, module):
            raise UsageError(f"{where}.monitor: {unknown(monitor, known)}")
        if isinstance(callback, RunCheckpoint):
            callback.resolve(module)
        elif (mode := getattr(callback, "mode", None)) in ("min", "max"):
            mode_of(module, monitor, mode, f"{where}.mode")


def unknown(monitor: str, known: Collection[str]) -> str:
    """Describe a metric that is not logged, with the nearest names."""
    last = {name.rpartition("/")[2]: name for name in known}
    if monitor in last:
        return f"no metric {monitor!r} is logged; did you mean {last[monitor]}?"
    close = difflib.get_close_matches(monitor, known, SHOWN)
    close += [last[name] for name in difflib.get_close_matches(monitor, last, SHOWN)]
    shown = list(dict.fromkeys(close))[:SHOWN]
    if shown:
        return f"no metric {monitor!r} is logged; did you mean {' or '.join(shown)}?"
    return f"no metric {monitor!r} is logged; there are {', '.join(sorted(known))}"


def _check_validation(trainer: Trainer, data: LightningDataModule, what: str) -> None:
    """Check that a run validates after every epoch or some of its epochs.

    Raises:
        UsageError: It does not.
    """
    off = "or set the monitor to null"
    splits = getattr(data, "mode", None) == "retrain" and getattr(data, "val_folder", None) is None
    if splits and getattr(data, "val_fraction", 1) == 0:
        raise UsageError(
            f"data.val_fraction 0 leaves no validation data for {what}: set a larger "
            f"--data.val_fraction, or --checkpoint.monitor null"
        )
    if not is_overridden("val_dataloader", data, LightningDataModule):
        raise UsageError(
            f"{type(data).__name__} has no validation data for {what}: add them, {off}"
        )
    every, epochs = trainer.check_val_every_n_epoch, trainer.max_epochs
    if trainer.limit_val_batches == 0:
        raise UsageError(f"trainer.limit_val_batches 0 leaves nothing for {what}: raise it, {off}")
    if every is None:
        raise UsageError(
            f"{what} is compared after epochs: set trainer.check_val_every_n_epoch to a number, "
            f"{off}"
        )
    if epochs is not None and 0 <= epochs < every:
        raise UsageError(
            f"trainer.check_val_every_n_epoch {every} is more than the {epochs} epochs of the run, "
            f"so there is never a {what}: lower it, {off}"
        )


def check_position_of_validation(trainer: Trainer, module: LightningModule) -> None:
    """Check that the last validation of an epoch sees the weights that `best.ckpt` would hold.

    Raises:
        UsageError: It comes some batches before the end of the epoch.
    """
    validated = logged_metrics(module, ("val",))
    chosen = any(
        isinstance(callback, RunCheckpoint) and callback.monitor in validated
        for callback in trainer.checkpoint_callbacks
    )
    batches: Any = trainer.num_training_batches
    every: Any = trainer.val_check_batch
    if chosen and isinstance(batches, int) and isinstance(every, int) and batches % every:
        raise UsageError(
            f"trainer.val_check_interval {trainer.val_check_interval}: the last validation of an "
            f"epoch would come before its last {batches % every} of {batches} batches, and rate "
            f"other weights than best.ckpt holds: set --trainer.limit_train_batches "
            f"{batches - batches % every}, or --checkpoint.monitor null"
        )


def _is_closed(trainer: Trainer, module: LightningModule) -> bool:
    """Return True if nothing of the user's own may log other metrics."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined] # set by a connector
    strategies = module.strategies if isinstance(module, SearchModule) else []
    return all(type(part).__module__.startswith(OURS) for part in (module, *callbacks, *strategies))


def _prefixes(module: LightningModule) -> tuple[str, ...]:
    """Return prefixes of the names under which more than the metrics of the task is logged."""
    if not isinstance(module, SearchModule):
        return ("lr-", "retrain/rollbacks")
    strategies = [prefix for strategy in module.strategies for prefix in strategy.logs]
    return ("lr-", "search/rollbacks", PREFIX, *PREFIXES, *strategies)
