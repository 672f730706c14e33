"""A run whose loss is no longer finite goes on from its best checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.callbacks.average_weights import AverageWeights
from nas_lightning.checkpoints import read_checkpoint
from nas_lightning.errors import NASError, UsageError
from nas_lightning.stage import Stage


class DivergedError(NASError):
    """The loss is not finite, and there is nothing to go back to."""


class RollBackOnNaN(Callback):
    """When the training loss is not finite, take the best checkpoint's weights and go on.

    The checkpoint is the best one of the run, else the last, else the one that the run was resumed
    from; one whose weights are not finite is passed over. From it come the weights, the state of
    the optimizer and the averages of `AverageWeights`. All else goes on: the next batch is the
    next one of the text, at the learning rate of the present epoch. Going back in the data too, as
    the released code of DARTS does, would here lead to the same draws, and to the same loss. The
    hidden state of the training text begins anew.

    The broken loss stays in the mean of its epoch, which is logged as not finite. The number of
    roll-backs of the run is logged as `retrain/rollbacks`.

    Args:
        patience: How often a run may go back; the next time is an error.

    Raises:
        UsageError: `patience` is negative, or the run is a search.
        DivergedError: There is no finite checkpoint yet, or patience is at an end.
    """

    def __init__(self, patience: int = 10) -> None:
        if patience < 0:
            raise UsageError(f"RollBackOnNaN: patience must not be negative, found {patience}")
        self.patience = patience
        self.count = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that the run is one that this is for.

        Raises:
            UsageError: It is a search, which has no single loss.
        """
        if stage == "fit" and not pl_module.automatic_optimization:
            raise UsageError("RollBackOnNaN is for retraining: take it out of trainer.callbacks")

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Go back if the loss of the batch is not finite, on any process.

        Raises:
            DivergedError: That is not possible.
        """
        broken = not bool(outputs["loss"].isfinite())
        # all processes go back, or their weights would differ
        if not trainer.strategy.reduce_boolean_decision(broken, all=False):
            return
        where = f"the loss of epoch {trainer.current_epoch}, batch {batch_idx} is not finite"
        if self.count == self.patience:
            raise DivergedError(
                f"{where}, behind {self.count} roll-backs: lower the learning rate, or set a "
                f"larger patience of RollBackOnNaN"
            )
        path, checkpoint = _sound_checkpoint(trainer, where)
        self.count += 1
        restore(trainer, pl_module, checkpoint)
        if trainer.is_global_zero:
            print(f"{where}: back to {path} ({self.count} of {self.patience})", flush=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log how often the run went back."""
        pl_module.log("retrain/rollbacks", float(self.count))

    def state_dict(self) -> dict[str, Any]:
        """How often the run went back."""
        return {"count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.count = state_dict["count"]


def restore(trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Take weights, optimizer state and averages of a checkpoint, in the middle of a fit."""
    pl_module.load_state_dict(checkpoint["state_dict"])
    for optimizer, state in zip(trainer.optimizers, checkpoint["optimizer_states"], strict=True):
        rates = [group["lr"] for group in optimizer.param_groups]
        optimizer.load_state_dict(state)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
    pl_module.zero_grad()  # gradients may be accumulated over batches
    for callback in trainer.callbacks:  # type: ignore[attr-defined] # set by a connector
        if isinstance(callback, AverageWeights):  # else the weights were the mean
            callback.on_load_checkpoint(trainer, pl_module, checkpoint)
    if isinstance(pl_module, Stage):
        pl_module.streams.restart(*pl_module.train_streams)


def _sound_checkpoint(trainer: Trainer, where: str) -> tuple[str, dict[str, Any]]:
    """Path and content of the first checkpoint whose weights are finite."""
    for path in _paths(trainer):
        checkpoint = read_checkpoint(path)
        if "optimizer_states" in checkpoint and _finite(checkpoint["state_dict"]):
            return path, checkpoint
    raise DivergedError(
        f"{where}, and there is no finite checkpoint to go back to yet: lower the learning rate"
    )


def _paths(trainer: Trainer) -> Iterator[str]:
    """Checkpoints of the run, those to be preferred first."""
    found = [
        str(getattr(callback, name, None) or "")
        for name in ("best_model_path", "last_model_path")
        for callback in trainer.checkpoint_callbacks
    ]
    for path in (*found, str(trainer.ckpt_path or "")):
        if path and Path(path).is_file():
            yield path


def _finite(weights: Mapping[str, Tensor]) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in weights.values())
