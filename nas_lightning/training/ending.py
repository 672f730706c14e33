"""The ending of a run: its last epochs, after those that schedules and ramps are made for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from lightning import Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nas_lightning.errors import UsageError
from nas_lightning.training.schedules import Schedule

Rate = Callable[[int, float], float]
"""Epoch of the ending, counted from 0, and initial rate → the learning rate in that epoch."""


@dataclass(frozen=True)
class Ending:
    """The last epochs of a run, in which schedules and ramps of the other epochs are over.

    Attributes:
        epochs: Number of epochs.
        weight_rate: Learning rate of the weights. That of α stays where it was.
        by: Name of the part of the run that has asked for it.
    """

    epochs: int
    weight_rate: Rate
    by: str

    def check(self, trainer: Trainer) -> None:
        """Check that a run has epochs before its ending, and does not stop early.

        Raises:
            UsageError: It has none, or is set to stop early.
        """
        if trainer.fast_dev_run:  # type: ignore[attr-defined] # set by a connector
            return
        total = trainer.max_epochs
        if total is not None and 0 < total <= self.epochs:
            raise UsageError(
                f"{self.by} takes the last {self.epochs} epochs, so trainer.max_epochs {total} "
                f"leaves none for the search: set trainer.max_epochs to more than {self.epochs}"
            )
        if trainer.early_stopping_callbacks:
            stopper = type(trainer.early_stopping_callbacks[0]).__name__
            raise UsageError(
                f"{stopper} would end the search before {self.by} has decided: remove one of them"
            )


@final
class EndingSchedule(Schedule):
    """A schedule that is followed by the rates of an ending.

    Args:
        schedule: Schedule of the epochs before.
        rate: Rates of the ending; `None` keeps the last rate of the schedule.
    """

    def __init__(self, schedule: Schedule, rate: Rate | None) -> None:
        self.schedule = schedule
        self.rate = rate

    def build(self, optimizer: Optimizer, epochs: int) -> LRScheduler:
        """Build the scheduler of a run with `epochs` epochs before its ending."""
        return _EndingRates(optimizer, self.schedule.build(optimizer, epochs), epochs, self.rate)


def with_ending(ending: Ending | None, schedules: Sequence[Schedule]) -> list[Schedule]:
    """Return the schedules of a run's optimizers, that of the weights first, with its ending."""
    if ending is None:
        return list(schedules)
    return [EndingSchedule(each, None if i else ending.weight_rate)
            for i, each in enumerate(schedules)]  # fmt: skip


class _EndingRates(LRScheduler):
    """The rates of a scheduler in the first epochs, and those of an ending after them."""

    def __init__(
        self, optimizer: Optimizer, first: LRScheduler, epochs: int, rate: Rate | None
    ) -> None:
        # LRScheduler.__init__ is not called, because it would set rates itself
        self.optimizer = optimizer
        self.last_epoch = 0
        self._first, self._epochs, self._rate = first, epochs, rate

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch."""
        self.last_epoch += 1
        if self.last_epoch < self._epochs:
            self._first.step()
        elif self._rate is not None:
            for group in self.optimizer.param_groups:
                initial = group.get("initial_lr", group["lr"])
                group["lr"] = self._rate(self.last_epoch - self._epochs, initial)
