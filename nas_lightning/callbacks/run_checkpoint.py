"""Checkpoints of a run: the best, if a metric is watched, and always the last two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from nas_lightning.errors import UsageError
from nas_lightning.training.checkpoints import Last, WholeCheckpoints


class RunCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint callback that also writes `last.ckpt` behind every epoch.

    Lightning's own `save_last` writes it only in epochs in which it writes another one: behind a
    new best, or, where nothing is watched, at the end of training.

    `last.ckpt` takes its place when the metrics of that moment are on the disk, that is when the
    next batch or epoch begins; the one before stays as `previous.ckpt`.

    Args:
        dirpath: Where checkpoints go.
        every_batches: Write `last.ckpt` also behind every so many batches of an epoch, for epochs
            that take hours; none for epochs only.
        kwargs: Further arguments of Lightning's `ModelCheckpoint`.

    Raises:
        UsageError: `every_batches` is below 1.
    """

    def __init__(
        self, dirpath: Path | str | None = None, *, every_batches: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(dirpath, **kwargs)
        if every_batches is not None and every_batches < 1:
            raise UsageError(f"checkpoint.every_batches must be at least 1, found {every_batches}")
        self.every_batches = every_batches
        self.prepared = False

    @property
    def files(self) -> Last:
        """The last two checkpoints."""
        assert self.dirpath is not None
        return Last(Path(self.dirpath))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have every checkpoint written whole, the best one too."""
        super().setup(trainer, pl_module, stage)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # not one of the user's
            trainer.strategy.checkpoint_io = WholeCheckpoints()

    def prepare(self, trainer: Trainer) -> None:
        """Write the next `last.ckpt` beside the present one."""
        trainer.save_checkpoint(self.files.new, weights_only=False)
        self.prepared = True

    def commit(self, trainer: Trainer) -> None:
        """Put it in its place, with all logs before it; nothing if there is none."""
        if not self.prepared:
            return
        self.prepared = False
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()
            self.files.promote()
        self.last_model_path = str(self.files.last)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the checkpoint of the epoch before in its place."""
        self.commit(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Put the checkpoint of the batch before in its place."""
        self.commit(trainer)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write the last in the middle of an epoch, if that is wanted."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        # behind the epoch's last batch its end is still to come, and writes its own
        at_end = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if self.every_batches and (batch_idx + 1) % self.every_batches == 0 and not at_end:
            self.prepare(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what Lightning writes, and the last."""
        super().on_train_epoch_end(trainer, pl_module)
        self.prepare(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the run's last checkpoint in its place."""
        super().on_train_end(trainer, pl_module)
        self.commit(trainer)
