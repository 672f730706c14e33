"""Signals that end a run: finish the batch, save, and stop, or make way and come back."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from nas_lightning.callbacks.run_checkpoint import RunCheckpoint
from nas_lightning.errors import NASError
from nas_lightning.slurm.job import SlurmJob, requeue

STOP = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C; `kill`, `scancel`, and SLURM's notice that a job makes way for another."""
REQUEUE = (signal.SIGUSR1, signal.SIGUSR2)
"""What SLURM is asked to send ahead of the time limit (submitit asks for the second)."""


LOST = 64
"""No signal: the run directory is gone."""


class RunInterruptedError(NASError):
    """The run was stopped; it can go on.

    Args:
        text: What happened.
        number: The signal.
    """

    everywhere = True

    def __init__(self, text: str, number: int = signal.SIGINT) -> None:
        super().__init__(text)
        self.exit_code = 128 + number


class RunRequeuedError(RunInterruptedError):
    """The run was stopped, and its job put back into the queue, where it goes on by itself."""


class RunDirectoryLostError(NASError):
    """The run directory was removed or moved away under the run."""

    everywhere = True


class GracefulStop(Callback):
    """On a signal finish the batch, write `last.ckpt` and stop.

    SIGINT (Ctrl-C) and SIGTERM stop the run. A second Ctrl-C stops at once, without saving. SIGUSR1
    and SIGUSR2 also put the job back into SLURM's queue, if it came from there. All processes stop
    behind the same batch, whichever of them was told. So do they if the run directory vanishes,
    which is then made anew.

    Needs a `RunCheckpoint` beside it.

    Args:
        job: The SLURM job that this process belongs to, if any.
    """

    def __init__(self, job: SlurmJob | None = None) -> None:
        self.job = job
        self.asked = 0
        """The signal that came, 0 for none."""
        self._stopping = 0
        self._previous: dict[int, Any] = {}

    # -- signals -------------------------------------------------------------------------------

    # before that there is nothing to save, and a signal does what it always does

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        self._listen()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen, in place of Lightning, whose handler talks to other processes by itself."""
        self._listen()

    def _listen(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (*STOP, *REQUEUE):
                before = signal.signal(number, self._ask)
                self._previous.setdefault(number, before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = number
            more = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
            print(f"\nnas: finishing this batch, then saving{more}", file=sys.stderr)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop listening."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
        self.asked = self._stopping = 0

    # -- stopping ------------------------------------------------------------------------------

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save if a signal came; behind an epoch's last batch, its end does."""
        if trainer.is_global_zero and _make_anew(trainer):
            self.asked = LOST
        self._agree(trainer)
        if self._stopping and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            _saving(trainer).prepare(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop, now that the batch before is in the logs too.

        Raises:
            RunInterruptedError: A signal came.
            RunDirectoryLostError: The run directory vanished.
        """
        if self._stopping and batch_idx:
            self._stop(trainer, f"in epoch {trainer.current_epoch} behind batch {batch_idx - 1}")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop between two epochs, if a signal came in the last batch or in the validation.

        Raises:
            RunInterruptedError: One did.
            RunDirectoryLostError: The run directory vanished.
        """
        if trainer.current_epoch and _saving(trainer).prepared:
            self._agree(trainer)
            if self._stopping:
                self._stop(trainer, f"behind epoch {trainer.current_epoch - 1}")

    def _agree(self, trainer: Trainer) -> None:
        """Let all processes know of the signal: they must stop at the same place."""
        if trainer.world_size == 1:
            self._stopping = self.asked
            return
        asked = torch.tensor(self.asked, device=trainer.strategy.root_device)
        self._stopping = int(trainer.strategy.reduce(asked, reduce_op="max"))

    def _stop(self, trainer: Trainer, where: str) -> None:
        _saving(trainer).commit(trainer)
        if self._stopping == LOST:
            raise RunDirectoryLostError(
                f"the run directory {trainer.default_root_dir} vanished; stopped {where}. It was "
                f"made anew with last.ckpt: the same command with --ckpt_path last goes on from "
                f"there; what else it held is gone, or where it was moved to"
            )
        if self._stopping in REQUEUE and self.job is not None and self.job.batch:
            if trainer.is_global_zero:
                # now: SLURM may end this process before it can say anything more
                print(f"nas: stopped {where}, putting job {self.job.id} back into the queue",
                      file=sys.stderr, flush=True)  # fmt: skip
                requeue(self.job)
            trainer.strategy.barrier("requeue")  # nobody leaves before the job is in the queue
            raise RunRequeuedError(
                f"job {self.job.id} is in the queue again and goes on there",
                self._stopping,
            )
        raise RunInterruptedError(
            f"stopped {where}; the same command with --ckpt_path last goes on from there",
            self._stopping,
        )


def _make_anew(trainer: Trainer) -> bool:
    """Whether the folders of the run were gone; they are there again."""
    folders = [trainer.default_root_dir, *(getattr(x, "log_dir", None) for x in trainer.loggers)]
    lost = [path for path in map(Path, filter(None, folders)) if not path.exists()]
    for path in lost:
        path.mkdir(parents=True, exist_ok=True)
    return Path(trainer.default_root_dir) in lost


def _saving(trainer: Trainer) -> RunCheckpoint:
    return next(c for c in trainer.checkpoint_callbacks if isinstance(c, RunCheckpoint))
