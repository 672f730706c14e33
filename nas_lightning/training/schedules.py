"""Learning-rate schedules that take the length of the run from the trainer."""

from __future__ import annotations

import functools
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import final

from lightning import Trainer
from lightning.pytorch.cli import LRSchedulerCallable
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from nas_lightning.errors import UsageError
from nas_lightning.hparams import describe, target
from nas_lightning.ranges import NOT_NEGATIVE, at_least, check
from nas_lightning.training.optimizers import prepare
from nas_lightning.training.rates import EpochRates


def planned_epochs(trainer: Trainer) -> int:
    """Return the number of epochs that schedules and ramps of a run are made for.

    These are all epochs but those of its ending, see `nas_lightning.training.ending`. Under
    `fast_dev_run` there is no ending.

    Raises:
        UsageError: `max_epochs` is not set, or is not more than the epochs of the ending.
    """
    if trainer.max_epochs is None or trainer.max_epochs < 1:
        raise UsageError("set trainer.max_epochs: schedules and ramps need to know the last epoch")
    ending = 0 if trainer.fast_dev_run else getattr(trainer.lightning_module, "ending_epochs", 0)  # type: ignore[attr-defined] # set by a connector
    if trainer.max_epochs <= ending:
        raise UsageError(f"set trainer.max_epochs to more than {ending}, the epochs of the ending")
    return trainer.max_epochs - ending


def planned_epoch(trainer: Trainer) -> int:
    """Return the present epoch, or the number of planned epochs when these are over.

    Ramps divide it by `planned_epochs`, so that they keep their final value in the ending of a run.
    """
    return min(trainer.current_epoch, planned_epochs(trainer))


def scheduled(
    trainer: Trainer, *pairs: tuple[Optimizer, Schedule]
) -> tuple[list[Optimizer], list[LRScheduler]]:
    """Return optimizers and the schedulers of their rates, for `configure_optimizers`.

    After a load, settings and rates are those of the configuration in force.

    Raises:
        UsageError: `max_epochs` is not set, or a schedule fails within the run.
    """
    epochs = planned_epochs(trainer)

    def rates(optimizer: Optimizer, schedule: Schedule) -> EpochRates:
        return EpochRates(optimizer, lambda own: schedule.build(own, epochs), epochs)

    optimizers = [prepare(optimizer) for optimizer, _ in pairs]
    return optimizers, [rates(optimizer, schedule) for optimizer, schedule in pairs]


def step(schedulers: Iterable[LRScheduler]) -> None:
    """Step schedulers at the end of an epoch, also of optimizers that have not stepped yet."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*lr_scheduler.step.* before .*optimizer.step.*")
        for scheduler in schedulers:
            scheduler.step()


@contextmanager
def scaled_rate(optimizer: Optimizer, factor: float) -> Iterator[None]:
    """Multiply the learning rates of an optimizer by a factor within the context."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] *= factor
    try:
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


class Schedule(ABC):
    """A learning-rate schedule that is stepped once per epoch.

    A subclass keeps every constructor argument under its own name.
    """

    @abstractmethod
    def build(self, optimizer: Optimizer, epochs: int) -> LRScheduler:
        """Build the scheduler of `optimizer` for a run of `epochs` epochs."""

    def __repr__(self) -> str:
        """Return the constructor call."""
        return describe(self)


class _ClosedForm(Schedule):
    """A schedule that is given by a formula for the rate in each epoch."""

    @abstractmethod
    def rate(self, epoch: int, epochs: int, initial: float) -> float:
        """Return the learning rate in `epoch` (0-based) of `epochs`, starting from `initial`."""

    def build(self, optimizer: Optimizer, epochs: int) -> LRScheduler:
        """Build the scheduler of `optimizer` for a run of `epochs` epochs."""

        def factor(initial: float) -> Callable[[int], float]:
            return lambda epoch: self.rate(epoch, epochs, initial) / initial if initial else 0.0

        return LambdaLR(optimizer, [factor(group["lr"]) for group in optimizer.param_groups])


@final
class ConstantSchedule(_ClosedForm):
    """A constant learning rate."""

    def rate(self, epoch: int, epochs: int, initial: float) -> float:
        """Return `initial`."""
        return initial


@final
class CosineSchedule(_ClosedForm):
    """Cosine from the initial rate to `eta_min` over the run (Loshchilov and Hutter, ICLR 2017).

    Args:
        eta_min: Rate at the end of the run.
        warmup_epochs: Number of first epochs in which the rate grows linearly, as
            initial (e + 1) / warmup_epochs.
        from_start: If False, the cosine begins after the warm-up. If True, it runs over all
            epochs, and the warm-up replaces the rates of the first ones, as in PC-DARTS' search on
            ImageNet.
    """

    def __init__(
        self, eta_min: float = 0.0, warmup_epochs: int = 0, from_start: bool = False
    ) -> None:
        self.eta_min = eta_min
        self.warmup_epochs = warmup_epochs
        self.from_start = from_start
        check(self, eta_min=NOT_NEGATIVE, warmup_epochs=at_least(0))

    def rate(self, epoch: int, epochs: int, initial: float) -> float:
        """Return eta_min + (initial - eta_min)(1 + cos(pi e / E)) / 2.

        e and E count from the end of the warm-up, or with `from_start` from the first epoch.
        """
        if epoch < self.warmup_epochs:
            return initial * (epoch + 1) / self.warmup_epochs
        begin = 0 if self.from_start else self.warmup_epochs
        done = (epoch - begin) / max(1, epochs - begin)
        return self.eta_min + (initial - self.eta_min) * (1 + math.cos(math.pi * done)) / 2


@final
class LinearSchedule(_ClosedForm):
    """Linear decay that flattens over the last epochs (P-DARTS and PC-DARTS on ImageNet).

    The warm-up is that of PC-DARTS. P-DARTS multiplies the decaying rate by (e + 1) / warmup_epochs
    instead of the initial one, which is at most 1.6 % less in its five epochs of 250.

    Args:
        tail_epochs: Length t of the flat end, in epochs.
        warmup_epochs: Number of first epochs in which the rate is initial (e + 1) / warmup_epochs
            instead.
    """

    def __init__(self, tail_epochs: int = 5, warmup_epochs: int = 0) -> None:
        self.tail_epochs = tail_epochs
        self.warmup_epochs = warmup_epochs
        check(self, tail_epochs=at_least(0), warmup_epochs=at_least(0))

    def rate(self, epoch: int, epochs: int, initial: float) -> float:
        """Return initial (E - t - e)/(E - t), and in the tail initial (E - e)/((E - t) t)."""
        if epoch < self.warmup_epochs:
            return initial * (epoch + 1) / self.warmup_epochs
        left, body = epochs - epoch, max(1, epochs - self.tail_epochs)
        if left <= 0:  # requested once more after the last epoch
            return 0.0
        if left > self.tail_epochs:
            return initial * (left - self.tail_epochs) / body
        return initial * left / (body * self.tail_epochs)


@final
class TorchSchedule(Schedule):
    """Any scheduler of PyTorch whose rates follow from the epoch, with its own arguments.

    Args:
        scheduler: Scheduler, such as `torch.optim.lr_scheduler.ExponentialLR` with `init_args`. It
            is stepped once per epoch.

    Raises:
        UsageError: The scheduler is `ReduceLROnPlateau`, whose rates follow from a metric.
    """

    def __init__(self, scheduler: LRSchedulerCallable) -> None:
        named = target(scheduler) if isinstance(scheduler, functools.partial) else scheduler
        if isinstance(named, type) and issubclass(named, ReduceLROnPlateau):
            raise _plateau()
        self.scheduler = scheduler

    def build(self, optimizer: Optimizer, epochs: int) -> LRScheduler:
        """Build the scheduler; `epochs` is ignored.

        Raises:
            UsageError: The scheduler is `ReduceLROnPlateau`, or refuses its arguments.
        """
        try:
            scheduler = self.scheduler(optimizer)
        except (TypeError, ValueError) as error:
            raise UsageError(f"TorchSchedule: {' '.join(str(error).split())}") from error
        if isinstance(scheduler, ReduceLROnPlateau):
            raise _plateau()
        return scheduler


def _plateau() -> UsageError:
    return UsageError(
        "TorchSchedule: ReduceLROnPlateau is not supported, because a resumed run could not repeat "
        "its rates: use CosineSchedule, LinearSchedule, ConstantSchedule, or TorchSchedule with "
        "ExponentialLR, StepLR or MultiStepLR"
    )
