"""What the two stages, search and retraining, have in common as Lightning modules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from lightning import LightningModule
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer

from nas_lightning.distributed import gather_from_ranks
from nas_lightning.errors import DivergedError, UsageError
from nas_lightning.layers.drop_path import set_drop_path
from nas_lightning.randomness import mix_seed
from nas_lightning.tasks import Task
from nas_lightning.training import checkpoints, recovery
from nas_lightning.training.finite import FiniteSteps
from nas_lightning.training.position import training_position
from nas_lightning.training.schedules import planned_epochs
from nas_lightning.training.streams import Streams

STATE = "stage_state"
"""Where a checkpoint keeps the seed of the draws and, within an epoch, the streams by process."""

# with `Any` for the values, the command line would make an object of what has a `class_path`
DataSpec = Mapping[str, int | float | dict[str, Any]]
"""Sizes of the data and, for an inverse problem, its operator: plain data, kept in checkpoints."""


class Stage(LightningModule, ABC):
    """Draws that a resumed run repeats, drop path that grows, streams of batches.

    Args:
        data_spec: Sizes of the data.
        task: Loss and metrics.
        drop_path: Probability of dropping a path at the end of training; it grows linearly,
            `drop_path · epoch / epochs`.

    Raises:
        UsageError: `drop_path` is no probability.
    """

    kind: ClassVar[str]
    """What checkpoints are stamped with."""
    names: ClassVar[tuple[str, ...]]
    """The streams of batches."""
    train_streams: ClassVar[tuple[str, ...]]
    """Those of training."""

    def __init__(self, data_spec: DataSpec, task: Task, drop_path: float) -> None:
        super().__init__()
        if not 0 <= drop_path < 1:
            raise UsageError(f"drop_path must be at least 0 and below 1, found {drop_path}")
        self.task = task
        self.drop_path = drop_path
        self.streams = Streams(task, data_spec, self.names)
        self.draw_seed = torch.initial_seed() % 2**63
        self._resumed: list[dict[str, Any]] | None = None
        self.finite = FiniteSteps()
        self.rolls_back = False
        """Whether somebody goes back to a checkpoint behind a broken step."""
        self.diverged: DivergedError | None = None
        """What was wrong with the step of this batch."""

    @property
    @abstractmethod
    def space_name(self) -> str:
        """Name of the search space."""

    @property
    @abstractmethod
    def trained(self) -> nn.Module:
        """The network whose weights are trained."""

    def draw_position(self, batch_idx: int) -> tuple[int, int, int]:
        """What all draws of a step are a function of: seed, epoch and batch."""
        return self.draw_seed, self.current_epoch, batch_idx

    def seed_draws(self, batch_idx: int) -> None:
        """Set the global generators for a step; every process draws its own."""
        torch.manual_seed(mix_seed(*self.draw_position(batch_idx), self.global_rank))

    def on_fit_start(self) -> None:
        """Take the seed of the first process."""
        self.finite.forget()
        self.draw_seed = self.trainer.strategy.broadcast(self.draw_seed)

    def on_train_start(self) -> None:
        """Go on within an epoch, whose start is skipped: drop path, and what the streams hold."""
        self._ramp_drop_path()
        states, self._resumed = self._resumed, None
        if states is None:
            return
        if len(states) == self.trainer.world_size:
            self.streams.go_on(states[self.global_rank], self.device)
        else:
            rank_zero_warn(
                f"the checkpoint was written within an epoch by {len(states)} processes, and "
                f"{self.trainer.world_size} go on: the rest of this epoch differs from what it "
                f"would have been, and its metrics begin anew"
            )

    def on_train_epoch_start(self) -> None:
        """Ramp drop path up, and begin the streams of training batches anew."""
        self._ramp_drop_path()
        self.streams.restart(*self.train_streams)

    def _ramp_drop_path(self) -> None:
        if self.drop_path:
            epochs = planned_epochs(self.trainer)
            set_drop_path(self.trained, self.drop_path * self.current_epoch / epochs)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Look at what is known of the epoch's steps before anything is made of them."""
        if self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self.settle_steps()

    def on_train_end(self) -> None:
        """Look at what is known of the last steps, also of a run that ends within an epoch."""
        self.settle_steps()

    def on_validation_start(self) -> None:
        """Do not validate what is broken."""
        self.settle_steps()

    def on_validation_epoch_start(self) -> None:
        """Begin the stream of validation batches anew."""
        self.streams.restart("val")

    def give_way(self, error: DivergedError) -> None:
        """Leave a broken step to whoever rolls back; without one it ends the run.

        Raises:
            DivergedError: Nobody rolls back.
        """
        if not self.rolls_back:
            advice = recovery.advice(self.trainer, error.taken)
            raise DivergedError(f"{error}; {advice}", error.taken) from error
        self.diverged = error

    def check_step(
        self, step: str, loss: Tensor, optimizer: Optimizer, scaled: bool = False
    ) -> Tensor:
        """Check a step before its optimizer takes it.

        On a CUDA device the answer comes some steps later, unless somebody rolls back.

        Args:
            step: What the step is called in the message.
            loss: Its loss ().
            optimizer: What is about to step.
            scaled: Whether a gradient scaler watches the gradients.

        Returns:
            Norm of the gradients (), for `clip`; 0 if a scaler watches them.

        Raises:
            DivergedError: This step or an earlier one is not finite; `taken` says which.
        """
        return self.finite.check(self, step, loss, optimizer, scaled, at_once=self.rolls_back)

    @staticmethod
    def clip(optimizer: Optimizer, limit: float | None, norm: Tensor) -> None:
        """Scale the gradients down to a norm, as Lightning does where it may.

        Lightning refuses fused optimizers with mixed precision, since some undo the scale of
        gradients only as they step. It also takes the norm a second time.

        Args:
            optimizer: What is about to step; its gradients are not scaled.
            limit: The largest norm; none or 0 for no clipping.
            norm: Norm of the gradients now ().
        """
        if limit:
            parameters = [value for group in optimizer.param_groups for value in group["params"]]
            clip_grads_with_norm_(parameters, limit, norm)

    def settle_steps(self) -> None:
        """Wait for what is known of the steps so far.

        Raises:
            DivergedError: One was not finite.
        """
        try:
            self.finite.settle()
        except DivergedError as error:
            self.give_way(error)

    def go_back(self, checkpoint: dict[str, Any]) -> None:
        """Take the weights of a checkpoint in the middle of a fit, where the streams begin anew."""
        self.load_state_dict(checkpoint["state_dict"])
        self.streams.restart(*self.train_streams)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what the checkpoint is of, and keep what a resumed run needs."""
        self.settle_steps()  # a checkpoint never holds a broken step
        checkpoints.stamp(checkpoint, self.kind, self.space_name)
        within = training_position(self.trainer)[1] > 0
        state = self.streams.state(*self.train_streams) if within else None
        states = gather_from_ranks(move_data_to_device(state, torch.device("cpu")))
        checkpoint[STATE] = {"seed": self.draw_seed, "streams": states if within else None}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the checkpoint is of this stage and network.

        Raises:
            CheckpointError: It is of something else; says of what.
        """
        checkpoints.check(checkpoint, self.kind, self.space_name, self)
        self.draw_seed = checkpoint[STATE]["seed"]
        self._resumed = checkpoint[STATE]["streams"]
