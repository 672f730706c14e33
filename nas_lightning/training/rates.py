"""Learning rates as a function of the epoch and the settings in force, also after a resume."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, final

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nas_lightning.errors import UsageError
from nas_lightning.ranges import Range, check_value
from nas_lightning.text import reason
from nas_lightning.training.optimizers import settings_of

CHECKED = 10_000
"""Largest number of epochs whose rates are computed before a run starts."""


@final
class EpochRates(LRScheduler):
    """The learning rates of a scheduler of PyTorch, times a factor, stepped once per epoch.

    A load takes only the epoch and the factor from the state. It then steps a new scheduler to that
    epoch, so that all rates are those of an uninterrupted run with the present settings. The state
    of any other scheduler of PyTorch can be loaded too.

    Args:
        optimizer: Optimizer before its first step.
        build: Builds the scheduler.
        epochs: Number of epochs of the run.

    Attributes:
        scale: The factor.
        last_epoch: Number of epochs that have ended.
        base_lrs: Initial rate of each parameter group, times the factor.

    Raises:
        UsageError: The scheduler fails within the run, or a rate is negative or not finite.
    """

    def __init__(
        self, optimizer: Optimizer, build: Callable[[Optimizer], LRScheduler], epochs: int
    ) -> None:
        # LRScheduler.__init__ is not called, because it would set rates itself
        self.optimizer = optimizer
        self.scale = 1.0
        self._build = build
        self._settings = [settings_of(optimizer, group) for group in optimizer.param_groups]
        self._go_to(min(epochs, CHECKED))  # so that a scheduler that fails does so here
        self._go_to(0)

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch."""
        for group, rates in zip(self.optimizer.param_groups, self._rates, strict=True):
            group.update(rates)  # without the factor
        try:
            self._inner.step()
        except Exception as error:  # a scheduler may be anybody's
            raise UsageError(
                f"{type(self._inner).__name__} gives no learning rate after epoch "
                f"{self.last_epoch + 1}: {reason(error)}"
            ) from error
        self.last_epoch += 1
        self._read()

    def rescale(self, scale: float) -> None:
        """Set the factor of all rates."""
        self.scale = scale
        self._apply()

    def state_dict(self) -> dict[str, Any]:
        """Return epoch and factor, and the rates for readers of checkpoints."""
        names = ("last_epoch", "scale", "base_lrs", "_last_lr")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go to the epoch of a state.

        Raises:
            UsageError: Its factor is not between 0 and 1.
        """
        if "anneal_epochs" in state_dict:
            return  # `StochasticWeightAveraging` had taken over, and will again
        self.scale = state_dict.get("scale", 1.0)
        check_value("the checkpoint: scale of lr_schedulers", self.scale, Range(high=1))
        self._go_to(_epochs(state_dict))

    def _go_to(self, epoch: int) -> None:
        """Start again from the settings of the optimizer and step to an epoch."""
        for group, settings in zip(self.optimizer.param_groups, self._settings, strict=True):
            group.pop("initial_lr", None)
            group.update(copy.deepcopy(settings))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*lr_scheduler.step.* before .*optimizer.step.*")
            self._inner = self._build(self.optimizer)
            self.last_epoch = 0
            self._read()
            for _ in range(epoch):
                self.step()

    def _read(self) -> None:
        """Read the rates that the scheduler has set, and apply the factor."""
        self._rates = [
            {"lr": group["lr"], "initial_lr": group.get("initial_lr", group["lr"])}
            for group in self.optimizer.param_groups
        ]
        for rates in self._rates:
            if not 0 <= float(rates["lr"]) < math.inf:
                raise UsageError(
                    f"{type(self._inner).__name__} gives the learning rate {float(rates['lr']):g} "
                    f"in epoch {self.last_epoch + 1}: change its arguments, so that no rate is "
                    f"negative or infinite"
                )
        self._apply()

    def _apply(self) -> None:
        for group, rates in zip(self.optimizer.param_groups, self._rates, strict=True):
            group.update({name: rate * self.scale for name, rate in rates.items()})
        self.base_lrs = [group["initial_lr"] for group in self.optimizer.param_groups]
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


def _epochs(state: Mapping[str, Any]) -> int:
    """Return the number of epochs in the state of a scheduler, chained ones included."""
    if "last_epoch" in state:
        return int(state["last_epoch"])
    return _epochs(state["_schedulers"][0])
