"""Checkpoints of a run: the best, if a metric is monitored, and always the last two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from nas_lightning.ranges import at_least, check_value
from nas_lightning.training.checkpoints import Last, WholeCheckpoints


class RunCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint callback that also writes `last.ckpt` after every epoch.

    Lightning's own `save_last` writes it only together with another checkpoint: after a new best
    or, if nothing is monitored, at the end of training.

    A new `last.ckpt` replaces the old one when the metrics of that moment are on the disk, that
    is, when the next batch or epoch begins. The old one is kept as `previous.ckpt`.

    Args:
        dirpath: Folder of the checkpoints.
        every_batches: Also write `last.ckpt` after every `every_batches` batches of an epoch, for
            epochs that take hours; `None` means only after epochs.
        kwargs: Further arguments of Lightning's `ModelCheckpoint`.

    Raises:
        UsageError: `every_batches` is below 1.
    """

    def __init__(
        self, dirpath: Path | str | None = None, *, every_batches: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(dirpath, **kwargs)
        check_value("checkpoint.every_batches", every_batches, at_least(1))
        self.every_batches = every_batches
        self.prepared = False

    @property
    def files(self) -> Last:
        """The last two checkpoints."""
        assert self.dirpath is not None
        return Last(Path(self.dirpath))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the trainer write every checkpoint atomically, including the best one."""
        super().setup(trainer, pl_module, stage)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # not set by the user
            trainer.strategy.checkpoint_io = WholeCheckpoints()

    def prepare(self, trainer: Trainer) -> None:
        """Write the next `last.ckpt` without replacing the current one."""
        trainer.save_checkpoint(self.files.new, weights_only=False)
        self.prepared = True

    def commit(self, trainer: Trainer) -> None:
        """Flush all logs, then replace `last.ckpt` by the prepared checkpoint, if there is one."""
        if not self.prepared:
            return
        self.prepared = False
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()
            self.files.promote()
        self.last_model_path = str(self.files.last)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Commit the checkpoint of the previous epoch."""
        self.commit(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Commit the checkpoint of the previous batch."""
        self.commit(trainer)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Prepare a checkpoint in the middle of an epoch, as `every_batches` says."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        # after the last batch, the end of the epoch writes its own checkpoint
        at_end = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if self.every_batches and (batch_idx + 1) % self.every_batches == 0 and not at_end:
            self.prepare(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoints of Lightning and prepare the next `last.ckpt`."""
        super().on_train_epoch_end(trainer, pl_module)
        self.prepare(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Commit the last checkpoint of the run."""
        super().on_train_end(trainer, pl_module)
        self.commit(trainer)
