"""Ctrl-C: finish the batch, save, and stop."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer

from nas_lightning.errors import NASError


class RunInterruptedError(NASError):
    """The user stopped the run; it can go on."""

    exit_code = 130


class GracefulStop(Callback):
    """On Ctrl-C finish the batch and write a checkpoint; a second Ctrl-C stops at once.

    Args:
        path: The checkpoint to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked = False
        self._previous: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen for Ctrl-C."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self._previous)
        print(
            "\nnas: finishing this batch, then saving; Ctrl-C again stops at once", file=sys.stderr
        )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save and stop if that was asked for; behind an epoch's last batch, in the next epoch.

        Raises:
            RunInterruptedError: It was.
        """
        # saved here, the end of the epoch would be missing: schedules, validation, its checkpoint
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        # all processes stop behind the same batch, or saving would wait for ever
        if not trainer.strategy.reduce_boolean_decision(self.asked, all=False):
            return
        temporary = self.path.with_suffix(".tmp")
        trainer.save_checkpoint(temporary, weights_only=False)
        if trainer.is_global_zero:
            temporary.replace(self.path)
        raise RunInterruptedError(
            f"stopped in epoch {trainer.current_epoch} behind batch {batch_idx}; "
            f"the same command with --ckpt_path last goes on from there"
        )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop listening."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
