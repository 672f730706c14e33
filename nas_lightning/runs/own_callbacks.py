"""The progress bar and the checkpoints of a run, unless its settings switch them off."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, ProgressBar

from nas_lightning.callbacks import RunCheckpoint, RunProgressBar
from nas_lightning.callbacks.run_checkpoint import BEST
from nas_lightning.errors import UsageError
from nas_lightning.runs.directory import CHECKPOINTS

NAMES = (BEST, "last", "previous")
"""Names of our checkpoints, without the ending."""


class OwnCallbacks(NamedTuple):
    """The callbacks that are added to those of the configuration.

    Args:
        saves: True if the run keeps checkpoints.
        more: The progress bar, if the run shows ours.
    """

    saves: bool
    more: list[Callback]


def own_callbacks(trainer: Mapping[str, Any]) -> OwnCallbacks:
    """Return the callbacks of a run as the settings of its trainer ask for.

    Args:
        trainer: The settings, with callbacks as objects.

    Raises:
        UsageError: A callback is listed that another setting switches off, or that would write
            under the name of one of our checkpoints.
    """
    given = trainer["callbacks"] or []
    listed: list[Callback] = given if isinstance(given, list) else [given]
    bare = bool(trainer["barebones"])
    shows = trainer["enable_progress_bar"] is not False and not bare
    saves = trainer["enable_checkpointing"] is not False and not bare
    bars = [callback for callback in listed if isinstance(callback, ProgressBar)]
    if bars and not shows:
        raise _contradiction(bars[0], "enable_progress_bar", bare)
    if len(bars) > 1:
        raise UsageError("trainer.callbacks: there can be one progress bar: remove the others")
    savers = [callback for callback in listed if isinstance(callback, Checkpoint)]
    if savers and not saves:
        raise _contradiction(savers[0], "enable_checkpointing", bare)
    for saver in savers:
        _check_names(saver, trainer["default_root_dir"])
    more: list[Callback] = [RunProgressBar()] if shows and not bars else []
    return OwnCallbacks(saves, more)


def leave_nothing(trainer: Trainer) -> None:
    """Remove the checkpoints under `fast_dev_run`, which claims no directory.

    Lightning itself would still write a last checkpoint.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined] # set by a connector
    if trainer.fast_dev_run:  # type: ignore[attr-defined] # set by a connector
        kept = [callback for callback in callbacks if not isinstance(callback, Checkpoint)]
        trainer.callbacks = kept  # type: ignore[attr-defined] # set by a connector


def _contradiction(callback: Callback, setting: str, bare: bool) -> UsageError:
    name = type(callback).__name__
    switch = "barebones true" if bare else f"{setting} false"
    return UsageError(f"trainer.{switch} excludes {name}: remove it from trainer.callbacks")


def _check_names(saver: Callback, run_dir: str) -> None:
    """Check that another checkpoint callback leaves our checkpoints alone.

    Raises:
        UsageError: It would write one of them.
    """
    if isinstance(saver, RunCheckpoint):
        raise UsageError(
            "trainer.callbacks: every run has a RunCheckpoint, whose settings are checkpoint.*: "
            "remove it"
        )
    if not isinstance(saver, ModelCheckpoint):
        return
    ours = Path(run_dir) / CHECKPOINTS
    elsewhere = saver.dirpath is not None and Path(saver.dirpath).resolve() != ours.resolve()
    if not elsewhere and (saver.save_last or saver.filename in NAMES):
        raise UsageError(
            f"trainer.callbacks: {type(saver).__name__} would write over checkpoints of the run in "
            f"{ours}: set its dirpath to another folder"
        )
