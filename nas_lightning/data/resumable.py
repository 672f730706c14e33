"""Base class of data modules that resume exactly at the position of a checkpoint."""

from __future__ import annotations

import os
from typing import Any

from lightning import LightningDataModule, Trainer

from nas_lightning.errors import UsageError
from nas_lightning.ranges import SEED, check
from nas_lightning.training.position import training_position


class ResumableData(LightningDataModule):
    """A data module that saves and restores the position of the training.

    Args:
        seed: Seed of all random draws. The default is the seed of the run (`seed_everything`), or
            0 if there is none.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        self.seed = seed
        check(self, seed=SEED)
        # read at construction, when it is the same on every process and in a resumed run
        self._seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed
        self._resume: tuple[int, int] | None = None

    def summary(self) -> list[tuple[str, str]]:
        """Return what was found, as lines of a name and a text; after `setup`."""
        return [("data", type(self).__name__)]

    def state_dict(self) -> dict[str, Any]:
        """Return the position: `epoch`, and `batch`, the number of its batches that are done."""
        if self.trainer is None:
            return {}
        epoch, batch = training_position(self.trainer)
        return {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Store the position for the next `train_dataloader`."""
        # Lightning also calls this when a checkpoint is tested, which must not skip batches in a
        # later training
        if self.trainer is None or self.trainer.state.fn == "fit":
            self._resume = (state_dict["epoch"], state_dict["batch"])

    def _position(self) -> tuple[int, int]:
        """Return epoch and batch at which to start, from the checkpoint or else the trainer."""
        resume, self._resume = self._resume, None
        if resume is not None:
            return resume
        return (0, 0) if self.trainer is None else training_position(self.trainer)

    def _counted_epoch(self) -> int:
        """Return the epoch whose batches the trainer counts.

        It is that of `_position`, or the one before: a run that resumes after the last batch of an
        epoch first ends that epoch.
        """
        if self.trainer is None:
            return 0
        # Lightning declares a base class that lacks this counter
        epochs: Any = self.trainer.fit_loop.epoch_progress.current
        return int(epochs.processed)

    def _world(self) -> tuple[int, int]:
        """Return the rank and the number of processes."""
        return (
            (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        )


def check_trainer(trainer: Trainer) -> None:
    """Refuse trainer settings with which Lightning would replace the samplers.

    Raises:
        UsageError: There is such a setting.
    """
    if trainer.overfit_batches > 0:  # type: ignore[attr-defined] # Lightning sets it elsewhere
        raise UsageError("overfit_batches replaces the sampler: use limit_train_batches instead.")
    # Lightning offers no public way to read it
    if trainer.world_size > 1 and trainer._accelerator_connector.use_distributed_sampler:
        raise UsageError(
            "The data module distributes the samples to the processes: "
            "set the trainer's use_distributed_sampler to false."
        )
