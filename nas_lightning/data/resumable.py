"""Data modules that go on exactly where a checkpoint stopped."""

from __future__ import annotations

import os
from typing import Any

from lightning import LightningDataModule, Trainer

from nas_lightning.errors import UsageError
from nas_lightning.training.position import training_position


class ResumableData(LightningDataModule):
    """Knows where the training is, and which process this one is.

    Args:
        seed: Seed of all that is drawn; by default the run's (`seed_everything`), or 0 if that was
            never set.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        self.seed = seed
        # taken now: the same on every process, and what a resumed run finds again
        self._seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed
        self._resume: tuple[int, int] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Where the training is: `epoch`, and `batch`, how many of its batches are done."""
        if self.trainer is None:
            return {}
        epoch, batch = training_position(self.trainer)
        return {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember the position for the next `train_dataloader`."""
        # Lightning also calls this when a checkpoint is tested: that is no reason to skip batches
        # in a later training
        if self.trainer is None or self.trainer.state.fn == "fit":
            self._resume = (state_dict["epoch"], state_dict["batch"])

    def _position(self) -> tuple[int, int]:
        """Epoch and batches to begin with: of the checkpoint, else of the trainer."""
        resume, self._resume = self._resume, None
        if resume is not None:
            return resume
        return (0, 0) if self.trainer is None else training_position(self.trainer)

    def _world(self) -> tuple[int, int]:
        """Rank and number of processes."""
        return (
            (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        )


def check_trainer(trainer: Trainer) -> None:
    """Refuse settings with which Lightning replaces the samplers, and with them the order."""
    if trainer.overfit_batches > 0:  # type: ignore[attr-defined] # Lightning sets it elsewhere
        raise UsageError("overfit_batches replaces the sampler: use limit_train_batches instead.")
    # Lightning offers no public way to ask
    if trainer.world_size > 1 and trainer._accelerator_connector.use_distributed_sampler:
        raise UsageError(
            "The samples are dealt out to the processes by the data module: "
            "set the trainer's use_distributed_sampler to false."
        )
