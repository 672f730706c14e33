"""Signals that end a run: finish the batch, save, and stop or return to the queue."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from nas_lightning import signals
from nas_lightning.callbacks.run_checkpoint import RunCheckpoint
from nas_lightning.data.workers import shielded_workers
from nas_lightning.errors import NASError
from nas_lightning.search.measure import BetweenMeasurements
from nas_lightning.signals import REQUEUE, START_AGAIN, Inbox, RunInterruptedError, RunRequeuedError
from nas_lightning.slurm.job import RequeueError, SlurmJob, requeue
from nas_lightning.training.epochs import reached

LOST = 64
"""Not a signal, but the code for a run directory that vanished."""


class RunDirectoryLostError(NASError):
    """The run directory was removed or moved during the run."""

    everywhere = True


class GracefulStop(BetweenMeasurements, Callback):
    """Finish the batch on a signal, write `last.ckpt` and stop.

    SIGINT (Ctrl-C), SIGTERM and SIGHUP (a closed terminal) stop the run. A second Ctrl-C stops at
    once, without saving. SIGUSR1 and SIGUSR2 also requeue the job if it is a SLURM batch job. All
    processes stop after the same batch, whichever of them received the signal. They also stop if
    the run directory vanishes, which is then created again. Processes that load data leave all
    signals to this one.

    Until the first batch is there, nothing needs to be saved. Then a signal raises
    `signals.Stopped` at once, if this process receives signals by `signals.received` and is the
    only one of the run. Several processes stop together before their first batch.

    Without a `RunCheckpoint` among the callbacks the run stops too, and nothing is saved.

    Args:
        job: SLURM job of this process, if any.
        resume: Command that resumes the run, for the message; by default the message names the
            checkpoint.
    """

    def __init__(self, job: SlurmJob | None = None, resume: str | None = None) -> None:
        self.job = job
        self.resume = resume
        self._inbox = Inbox(at_once=False)
        self._lost = False
        self._stopping = 0
        self._begun = False
        self._open = ExitStack()

    @property
    def asked(self) -> int:
        """Signal that was received; 0 for none."""
        return self._inbox.asked

    # -- signals -------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Receive the signals from now on."""
        if stage != "fit":
            return
        self._lost = self._begun = False
        self._stopping = 0
        self._open.enter_context(shielded_workers())
        inbox = signals.current()
        if inbox is None:
            inbox = self._open.enter_context(signals.received(Inbox(at_once=False)))
        elif trainer.world_size > 1:
            inbox.at_once = False
        self._inbox = inbox
        self._announce(trainer, "nas: stopping before the first batch")
        # handlers of Lightning communicate with other processes; it offers no other way to do
        # without them
        trainer._signal_connector.register_signal_handlers = _nothing  # type: ignore[method-assign] # no option does it

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Restore the previous signal handlers."""
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the previous signal handlers."""
        self._close()

    def _close(self) -> None:
        self._inbox.notice = ""
        self._open.close()

    def _announce(self, trainer: Trainer, notice: str) -> None:
        """Set the line that is printed when a signal comes."""
        self._inbox.notice = notice if trainer.is_global_zero else ""

    # -- stopping ------------------------------------------------------------------------------

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Ask for a checkpoint of this batch if a signal came."""
        if trainer.is_global_zero and _recreate(trainer):
            self._lost = True
        self._agree(trainer)
        if self._stopping and (saving := _saving(trainer)):
            saving.wanted = True

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop before the first batch, or once the previous batch is logged.

        Raises:
            RunInterruptedError: A signal came.
            RunDirectoryLostError: The run directory vanished.
        """
        if not self._begun:
            self._begun = True
            self._inbox.at_once = False
            self._announce(trainer, "nas: finishing this batch, then saving")
            self._agree(trainer)
            if self._stopping:
                self._end(trainer, "before the first batch", START_AGAIN)
        if self._stopping and batch_idx:
            self._stop(trainer, trainer.current_epoch, batch_idx)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop between two epochs if a signal came in the last batch or in the validation.

        Raises:
            RunInterruptedError: A signal came.
            RunDirectoryLostError: The run directory vanished.
        """
        saving = _saving(trainer)
        if trainer.current_epoch and (saving is None or saving.prepared):
            self._agree(trainer)
            if self._stopping:
                self._stop(trainer, trainer.current_epoch, 0)

    def on_measured(self, trainer: Trainer) -> None:
        """Stop between two measurements at the start of an epoch if a signal came.

        Raises:
            RunInterruptedError: A signal came.
            RunDirectoryLostError: The run directory vanished.
        """
        self._agree(trainer)
        if self._stopping and self._begun:
            self._stop(trainer, trainer.current_epoch, 0)
        elif self._stopping:
            self._end(trainer, "before the first batch", START_AGAIN)

    def _agree(self, trainer: Trainer) -> None:
        """Share the signal with all processes, which must stop at the same place."""
        own = LOST if self._lost else self.asked
        if trainer.world_size == 1:
            self._stopping = own
            return
        asked = torch.tensor(own, device=trainer.strategy.root_device)
        self._stopping = int(trainer.strategy.reduce(asked, reduce_op="max"))

    def _stop(self, trainer: Trainer, epoch: int, batch: int) -> None:
        """Stop before a batch of an epoch, both counted from 0."""
        where = f"after {reached(epoch, batch, trainer.max_epochs)}"
        if (saving := _saving(trainer)) is None:
            advice = "it kept no checkpoints, so it cannot be resumed"
        else:
            saving.commit(trainer)
            advice = f"go on {self._advice(saving)}"
        self._end(trainer, where, advice)

    def _end(self, trainer: Trainer, where: str, advice: str) -> None:
        if self._stopping == LOST:
            raise RunDirectoryLostError(
                f"the run directory {trainer.default_root_dir} vanished; stopped {where}. It was "
                f"created again with last.ckpt: resume with the same command and --ckpt_path last. "
                f"Its other files are gone or in the place it was moved to"
            )
        if self._stopping in REQUEUE and self.job is not None and self.job.batch:
            self._requeue(trainer, self.job, where)
            raise RunRequeuedError(
                f"job {self.job.id} is in the queue again and goes on there", self._stopping
            )
        raise RunInterruptedError(f"stopped {where}: {advice}", self._stopping)

    def _requeue(self, trainer: Trainer, job: SlurmJob, where: str) -> None:
        problem = None
        if trainer.is_global_zero:
            # print first: SLURM may end this process before it can print more
            print(f"nas: stopped {where}, requeueing job {job.id}", file=sys.stderr, flush=True)
            try:
                requeue(job)
            except RequeueError as error:
                problem = str(error)
        # no process exits before the job is in the queue
        problem = trainer.strategy.broadcast(problem)
        if problem is not None:
            raise RequeueError(problem)

    def _advice(self, saving: RunCheckpoint) -> str:
        if self.resume is None:
            return f"from {saving.files.last}"
        return f"with {self.resume}"


def _nothing() -> None:
    """Install no handlers."""


def _recreate(trainer: Trainer) -> bool:
    """Create missing folders of the run; return True if the run directory was missing."""
    folders = [trainer.default_root_dir, *(getattr(x, "log_dir", None) for x in trainer.loggers)]
    lost = [path for path in map(Path, filter(None, folders)) if not path.exists()]
    for path in lost:
        path.mkdir(parents=True, exist_ok=True)
    return Path(trainer.default_root_dir) in lost


def _saving(trainer: Trainer) -> RunCheckpoint | None:
    """Return the callback that keeps the checkpoints of the run, if it keeps any."""
    saving = (c for c in trainer.checkpoint_callbacks if isinstance(c, RunCheckpoint))
    return next(saving, None)
