"""Checkpoints of a run: the best, if a metric is watched, and always the last."""

from __future__ import annotations

from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class RunCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint callback that also writes `last.ckpt` behind every epoch.

    Lightning's own `save_last` writes it only in epochs in which it writes another one: behind a
    new best, or, where nothing is watched, at the end of training.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what Lightning writes, and the last."""
        super().on_train_epoch_end(trainer, pl_module)
        assert self.dirpath is not None
        path = Path(self.dirpath) / "last.ckpt"
        temporary = path.with_suffix(".tmp")
        trainer.save_checkpoint(temporary, weights_only=False)
        if trainer.is_global_zero:
            temporary.replace(path)
        self.last_model_path = str(path)
