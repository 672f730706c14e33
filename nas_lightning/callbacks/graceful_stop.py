"""Signals that end a run: finish the batch, save, and stop or return to the queue."""

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
from nas_lightning.training.epochs import reached

STOP = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C; `kill`, `scancel` and the pre-emption of a job by SLURM."""
REQUEUE = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals that SLURM is asked to send before the time limit (submitit uses the second)."""


LOST = 64
"""Not a signal, but the code for a run directory that vanished."""


class RunInterruptedError(NASError):
    """The run was stopped and can be resumed.

    Args:
        text: Message.
        number: Number of the signal.
    """

    everywhere = True

    def __init__(self, text: str, number: int = signal.SIGINT) -> None:
        super().__init__(text)
        self.exit_code = 128 + number


class RunRequeuedError(RunInterruptedError):
    """The run was stopped and its job requeued, so that it resumes on its own."""


class RunDirectoryLostError(NASError):
    """The run directory was removed or moved during the run."""

    everywhere = True


class GracefulStop(Callback):
    """Finish the batch on a signal, write `last.ckpt` and stop.

    SIGINT (Ctrl-C) and SIGTERM stop the run. A second Ctrl-C stops at once, without saving. SIGUSR1
    and SIGUSR2 also requeue the job if it is a SLURM batch job. All processes stop after the same
    batch, whichever of them received the signal. They also stop if the run directory vanishes,
    which is then created again.

    Requires a `RunCheckpoint` among the callbacks.

    Args:
        job: SLURM job of this process, if any.
        resume: Command that resumes the run, for the message; by default the message names the
            checkpoint.
    """

    def __init__(self, job: SlurmJob | None = None, resume: str | None = None) -> None:
        self.job = job
        self.resume = resume
        self.asked = 0
        """Signal that was received; 0 for none."""
        self._stopping = 0
        self._previous: dict[int, Any] = {}

    # -- signals -------------------------------------------------------------------------------

    # before these hooks there is nothing to save, and signals keep their default effect

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the signal handlers."""
        self._install_handlers()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace the signal handlers of Lightning, which communicate with other processes."""
        self._install_handlers()

    def _install_handlers(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (*STOP, *REQUEUE):
                before = signal.signal(number, self._on_signal)
                self._previous.setdefault(number, before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = number
            more = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
            print(f"\nnas: finishing this batch, then saving{more}", file=sys.stderr)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the previous signal handlers."""
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
        """Save if a signal came; after the last batch, the end of the epoch saves instead."""
        if trainer.is_global_zero and _recreate(trainer):
            self.asked = LOST
        self._agree(trainer)
        if self._stopping and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            _saving(trainer).prepare(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop, once the previous batch is logged.

        Raises:
            RunInterruptedError: A signal came.
            RunDirectoryLostError: The run directory vanished.
        """
        if self._stopping and batch_idx:
            self._stop(trainer, trainer.current_epoch, batch_idx)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop between two epochs if a signal came in the last batch or in the validation.

        Raises:
            RunInterruptedError: A signal came.
            RunDirectoryLostError: The run directory vanished.
        """
        if trainer.current_epoch and _saving(trainer).prepared:
            self._agree(trainer)
            if self._stopping:
                self._stop(trainer, trainer.current_epoch, 0)

    def _agree(self, trainer: Trainer) -> None:
        """Share the signal with all processes, which must stop at the same place."""
        if trainer.world_size == 1:
            self._stopping = self.asked
            return
        asked = torch.tensor(self.asked, device=trainer.strategy.root_device)
        self._stopping = int(trainer.strategy.reduce(asked, reduce_op="max"))

    def _stop(self, trainer: Trainer, epoch: int, batch: int) -> None:
        """Stop before a batch of an epoch, both counted from 0."""
        _saving(trainer).commit(trainer)
        where = f"after {reached(epoch, batch, trainer.max_epochs)}"
        if self._stopping == LOST:
            raise RunDirectoryLostError(
                f"the run directory {trainer.default_root_dir} vanished; stopped {where}. It was "
                f"created again with last.ckpt: resume with the same command and --ckpt_path last. "
                f"Its other files are gone or in the place it was moved to"
            )
        if self._stopping in REQUEUE and self.job is not None and self.job.batch:
            if trainer.is_global_zero:
                # print first: SLURM may end this process before it can print more
                print(f"nas: stopped {where}, requeueing job {self.job.id}",
                      file=sys.stderr, flush=True)  # fmt: skip
                requeue(self.job)
            trainer.strategy.barrier("requeue")  # no process exits before the job is in the queue
            raise RunRequeuedError(
                f"job {self.job.id} is in the queue again and will resume there",
                self._stopping,
            )
        raise RunInterruptedError(
            f"stopped {where}: go on {self._advice(trainer)}",
            self._stopping,
        )

    def _advice(self, trainer: Trainer) -> str:
        if self.resume is None:
            return f"from {_saving(trainer).files.last}"
        return f"with {self.resume}"


def _recreate(trainer: Trainer) -> bool:
    """Create missing folders of the run; return True if the run directory was missing."""
    folders = [trainer.default_root_dir, *(getattr(x, "log_dir", None) for x in trainer.loggers)]
    lost = [path for path in map(Path, filter(None, folders)) if not path.exists()]
    for path in lost:
        path.mkdir(parents=True, exist_ok=True)
    return Path(trainer.default_root_dir) in lost


def _saving(trainer: Trainer) -> RunCheckpoint:
    return next(c for c in trainer.checkpoint_callbacks if isinstance(c, RunCheckpoint))
