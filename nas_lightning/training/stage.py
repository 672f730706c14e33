"""Base class of the Lightning modules of the two stages, search and retraining."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from lightning import LightningDataModule, LightningModule
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer

from nas_lightning.architecture import SearchSpace
from nas_lightning.distributed import gather_from_ranks
from nas_lightning.errors import DivergedError
from nas_lightning.layers.drop_path import set_drop_path
from nas_lightning.randomness import mix_seed
from nas_lightning.ranges import PROBABILITY, check
from nas_lightning.tasks import Task
from nas_lightning.training import checkpoints, compatibility, recovery
from nas_lightning.training.batches import Batches
from nas_lightning.training.comparison import record
from nas_lightning.training.finite import FiniteSteps
from nas_lightning.training.loaders import make_rebuildable
from nas_lightning.training.meaning import check_meaning, meaning, preprocessing
from nas_lightning.training.position import training_position
from nas_lightning.training.schedules import planned_epoch, planned_epochs
from nas_lightning.training.spec import DataSpec, checked_spec
from nas_lightning.training.streams import Streams

STATE = "stage_state"
"""Key of a checkpoint's seed of the draws and, within an epoch, its streams by process."""


class Stage(LightningModule, ABC):
    """A stage with reproducible draws, linearly growing drop path and streams of batches.

    A resumed run repeats the draws of an uninterrupted one.

    Args:
        data_spec: Sizes of the data.
        task: Loss and metrics.
        drop_path: Probability of dropping a path at the end of training. It grows linearly,
            `drop_path · epoch / epochs`.

    Raises:
        UsageError: `drop_path` is not in [0, 1).
    """

    kind: ClassVar[str]
    """Kind of run that is written into checkpoints."""
    names: ClassVar[tuple[str, ...]]
    """Names of all streams of batches."""
    train_streams: ClassVar[tuple[str, ...]]
    """Names of the streams of training batches."""
    prefixes: ClassVar[Mapping[str, str]]
    """Prefixes of the names under which a fit logs, by stream."""
    ending_epochs: int = 0
    """Number of last epochs that schedules and ramps leave out, see `training.ending`."""
    space: SearchSpace

    def __init__(self, data_spec: DataSpec, task: Task, drop_path: float) -> None:
        super().__init__()
        self.task = task
        self.drop_path = drop_path
        check(self, drop_path=PROBABILITY)
        self.data_spec = checked_spec(data_spec)
        self.streams = Streams(task, self.data_spec, self.names)
        self.batches = Batches(task, self.data_spec)
        self.draw_seed = torch.initial_seed() % 2**63
        self._resumed: list[dict[str, Any]] | None = None
        self.finite = FiniteSteps()
        self.rolls_back = False
        """True if a callback returns to a checkpoint after a step that is not finite."""
        self.diverged: DivergedError | None = None
        """Error of the step of this batch, if it was not finite."""

    @property
    def space_name(self) -> str:
        """Name of the search space."""
        return self.space.name

    @property
    @abstractmethod
    def trained(self) -> nn.Module:
        """Network whose weights are trained."""

    @property
    @abstractmethod
    def components(self) -> dict[str, Any]:
        """Objects, or lists of them, by the setting that names their class.

        A run is resumed only with parts of the same classes.
        """

    @abstractmethod
    def build_optimizers(self) -> dict[str, Optimizer]:
        """Return new optimizers by the setting that names them, in Lightning's order."""

    def draw_position(self, batch_idx: int) -> tuple[int, int, int]:
        """Return seed, epoch and batch, which determine all draws of a step."""
        return self.draw_seed, self.current_epoch, batch_idx

    def seed_draws(self, batch_idx: int) -> None:
        """Seed the global generators for a step, differently in every process."""
        torch.manual_seed(mix_seed(*self.draw_position(batch_idx), self.global_rank))

    def accept(self, loader: str, batch: Any) -> Any:
        """Return a batch in the form that the task takes.

        Args:
            loader: Method of the data module that returned its loader, and the half if any.
            batch: The batch.

        Raises:
            DataError: It is the first of this loader and does not fit `data_spec`.
        """
        dtype = cast("torch.dtype", self.dtype)  # Lightning declares a text too
        return self.batches.accept(batch, dtype, loader, self._data)

    def setup(self, stage: str) -> None:
        """Prepare the loaders of a user's data module."""
        if self._data is not None:
            make_rebuildable(self._data)

    def on_fit_start(self) -> None:
        """Use the seed of the first process on all processes."""
        self.finite.forget()
        self.draw_seed = self.trainer.strategy.broadcast(self.draw_seed)

    def on_train_start(self) -> None:
        """Set drop path and restore the streams when resuming in the middle of an epoch."""
        self._ramp_drop_path()
        states, self._resumed = self._resumed, None
        if states is None:
            return
        if len(states) == self.trainer.world_size:
            self.streams.go_on(states[self.global_rank], self.device)
        else:
            rank_zero_warn(
                f"the checkpoint was written within an epoch by {len(states)} processes, but this "
                f"run has {self.trainer.world_size}: the rest of the epoch differs from an "
                f"uninterrupted run, and its metrics start again from zero"
            )

    def on_train_epoch_start(self) -> None:
        """Set drop path for the epoch and restart the streams of training batches."""
        self._ramp_drop_path()
        self.streams.restart(*self.train_streams)

    def _ramp_drop_path(self) -> None:
        if self.drop_path:
            done = planned_epoch(self.trainer) / planned_epochs(self.trainer)
            set_drop_path(self.trained, self.drop_path * done)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Keep the batch, for the message if its step is not finite."""
        self.finite.batch = batch

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log what a resumed epoch has so far, and check pending steps after its last batch."""
        self.streams.log_restored(self)
        if self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self.settle_steps()

    def on_train_end(self) -> None:
        """Check the pending steps, also if the run ends within an epoch."""
        self.settle_steps()

    def on_validation_start(self) -> None:
        """Check the pending steps, so that no diverged network is validated."""
        self.settle_steps()

    def on_validation_epoch_start(self) -> None:
        """Restart the stream of validation batches."""
        self.streams.restart("val")

    def give_way(self, error: DivergedError) -> None:
        """Record a step that is not finite for the callback that rolls back, or end the run.

        Raises:
            DivergedError: No callback rolls back.
        """
        if not self.rolls_back:
            advice = recovery.advice(self.trainer, error)
            raise DivergedError(f"{error}; {advice}", error.taken, error.data) from error
        self.diverged = error

    def check_step(
        self, step: str, loss: Tensor, optimizer: Optimizer, scaled: bool = False
    ) -> Tensor:
        """Check a step before its optimizer takes it.

        On a CUDA device the result is read some steps later, unless a callback rolls back.

        Args:
            step: Name of the step in the message.
            loss: Loss of the step ().
            optimizer: Optimizer that is about to step.
            scaled: True if a gradient scaler checks the gradients.

        Returns:
            Norm of the gradients (), for `clip`; 0 if a scaler checks them.

        Raises:
            DivergedError: This step or, if `taken` is set, an earlier one is not finite.
        """
        return self.finite.check(self, step, loss, optimizer, scaled, at_once=self.rolls_back)

    @staticmethod
    def clip(optimizer: Optimizer, limit: float | None, norm: Tensor) -> None:
        """Clip the gradients to a norm.

        Lightning's own clipping refuses fused optimizers with mixed precision, since some unscale
        the gradients only as they step. It also computes the norm a second time.

        Args:
            optimizer: Optimizer that is about to step, with unscaled gradients.
            limit: Largest norm; `None` or 0 means no clipping. Callers check that it is not
                negative.
            norm: Current norm of the gradients ().
        """
        if limit:
            parameters = [value for group in optimizer.param_groups for value in group["params"]]
            clip_grads_with_norm_(parameters, limit, norm)

    def settle_steps(self) -> None:
        """Wait for the checks of all steps so far.

        Raises:
            DivergedError: A step was not finite and no callback rolls back.
        """
        try:
            self.finite.settle()
        except DivergedError as error:
            self.give_way(error)

    def go_back(self, checkpoint: dict[str, Any]) -> None:
        """Load the weights of a checkpoint in the middle of a fit and restart the streams."""
        self.load_state_dict(checkpoint["state_dict"])
        self.streams.restart(*self.train_streams)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the description of the checkpoint and the state that a resumed run needs."""
        self.settle_steps()  # so that no checkpoint contains a diverged network
        parts, steps = self.record(), preprocessing(self._data)
        checkpoints.stamp(checkpoint, self.kind, self.space_name, self.meaning(), parts, steps)
        within = training_position(self.trainer)[1] > 0
        state = self.streams.state(*self.train_streams) if within else None
        states = gather_from_ranks(move_data_to_device(state, torch.device("cpu")))
        checkpoint[STATE] = {"seed": self.draw_seed, "streams": states if within else None}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the checkpoint is from this stage and fits the network and, in a fit, the run.

        Raises:
            CheckpointMismatchError: It does not fit. The message says what differs.
        """
        if self._data is not None:
            check_meaning(checkpoint, self._data)
        resumes = self._trainer is not None and self._trainer.state.fn == "fit"
        parts = self.record() if resumes else None
        compatibility.check(checkpoint, self.kind, self.space_name, self, parts)
        if resumes:
            compatibility.check_optimizers(checkpoint, self.build_optimizers())
        self.draw_seed = checkpoint[STATE]["seed"]
        self._resumed = checkpoint[STATE]["streams"]
        stoppers = getattr(self._trainer, "early_stopping_callbacks", ())
        for stopper in stoppers:  # Lightning would take this setting from the checkpoint
            if state := checkpoint.get("callbacks", {}).get(stopper.state_key):
                state["patience"] = stopper.patience

    def record(self) -> dict[str, Any]:
        """Return the record of the run's parts for its checkpoints, as plain data."""
        parts = self.components | self.build_optimizers()
        named = {f"model.{name}": part for name, part in parts.items()}
        return record({"model": self, **named, "data": self._data})

    def meaning(self) -> dict[str, Any]:
        """Return what inputs and outputs mean, see `nas_lightning.training.meaning`."""
        return {**self.data_spec, **meaning(self._data)}

    @property
    def _data(self) -> LightningDataModule | None:
        """The data module of the trainer, if any."""
        return getattr(self._trainer, "datamodule", None)
