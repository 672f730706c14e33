"""A run whose numbers are no longer finite goes back to a checkpoint, and on at a lower rate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightning import Callback, LightningModule, Trainer

from nas_lightning.callbacks.average_weights import AverageWeights
from nas_lightning.errors import DivergedError, UsageError
from nas_lightning.training.recovery import sound_checkpoint
from nas_lightning.training.stage import Stage


class RollBackOnNaN(Callback):
    """When a loss or gradient is not finite, take a checkpoint's weights, lower the rate, go on.

    For searches and for retraining. A search goes back to its last checkpoint, a retraining to its
    best; if that is damaged or not finite itself, to the next one of best, last, previous, and what
    the run was resumed from. From it come the weights, α and β, the states of the optimizers and of
    the strategies, and the averages of `AverageWeights`. All else goes on: the next batch is the
    next one of the data, in the present epoch. Going back in the data too, as the released code of
    DARTS does, would here lead to the same draws, and to the same loss. The hidden state of a
    training text begins anew.

    The learning rates of all optimizers, and their schedules, are multiplied by `rate_factor` for
    the rest of the run, also when it is resumed. That holds for our schedules, and for PyTorch's as
    far as they keep to their `base_lrs`.

    A search does not log the broken batch. In a retraining its loss stays in the mean of its epoch,
    which is logged as not finite. The number of roll-backs of the run is logged as
    `search/rollbacks` or `retrain/rollbacks`.

    Args:
        patience: How often a run may go back; the next time is an error.
        rate_factor: What each roll-back multiplies the learning rates by; 1 keeps them.

    Raises:
        UsageError: `patience` is negative, `rate_factor` is not above 0 and at most 1, or the
            module is none of ours and steps its optimizers by hand.
        DivergedError: There is no finite checkpoint yet, or patience is at an end.
    """

    def __init__(self, patience: int = 10, rate_factor: float = 0.5) -> None:
        if patience < 0:
            raise UsageError(f"RollBackOnNaN: patience must not be negative, found {patience}")
        if not 0 < rate_factor <= 1:
            raise UsageError(
                f"RollBackOnNaN: rate_factor must be above 0 and at most 1, found {rate_factor}"
            )
        self.patience = patience
        self.rate_factor = rate_factor
        self.count = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the module know that a broken step need not end the run.

        Raises:
            UsageError: It would not say which step is broken.
        """
        if stage != "fit":
            return
        if isinstance(pl_module, Stage):
            pl_module.rolls_back = True
        elif not pl_module.automatic_optimization:
            raise UsageError(
                f"RollBackOnNaN cannot tell when a step of {type(pl_module).__name__} is broken: "
                f"take it out of trainer.callbacks"
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """From here on a broken step is an error again."""
        if isinstance(pl_module, Stage):
            pl_module.rolls_back = False

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Go back if the step of the batch was broken; all processes do.

        Raises:
            DivergedError: That is not possible.
        """
        broken = _broken(trainer, pl_module, outputs, batch_idx)
        if broken is None:
            return
        if self.count == self.patience:
            raise DivergedError(
                f"{broken}, behind {self.count} roll-backs: begin again with a lower learning "
                f"rate, or go on with a larger patience of RollBackOnNaN"
            )
        found = sound_checkpoint(trainer, best_first=pl_module.automatic_optimization)
        if found is None:
            raise DivergedError(
                f"{broken}, and there is no finite checkpoint to go back to yet: begin again with "
                f"a lower learning rate"
            )
        path, checkpoint = found
        self.count += 1
        restore(trainer, pl_module, checkpoint)
        lower_rates(trainer, self.rate_factor)
        if trainer.is_global_zero:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            print(
                f"{broken}: back to {path}, on at learning rate {rate:g} "
                f"({self.count} of {self.patience})",
                flush=True,
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log how often the run went back."""
        kind = pl_module.kind if isinstance(pl_module, Stage) else "retrain"
        # equal on all processes
        pl_module.log(f"{kind}/rollbacks", float(self.count), rank_zero_only=True)

    def state_dict(self) -> dict[str, Any]:
        """How often the run went back."""
        return {"count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.count = state_dict["count"]


def _broken(
    trainer: Trainer, pl_module: LightningModule, outputs: Any, batch_idx: int
) -> DivergedError | None:
    """What was wrong with a step, if anything, on any process."""
    if isinstance(pl_module, Stage):  # the step was not taken
        error, pl_module.diverged = pl_module.diverged, None
        return error
    broken = not bool(outputs["loss"].isfinite())
    # all processes go back, or their weights would differ
    if not trainer.strategy.reduce_boolean_decision(broken, all=False):
        return None
    return DivergedError(
        f"the loss of epoch {trainer.current_epoch}, batch {batch_idx} is not finite"
    )


def restore(trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Take what was learned from a checkpoint, in the middle of a fit; rates stay as they are."""
    if isinstance(pl_module, Stage):
        pl_module.go_back(checkpoint)
    else:
        pl_module.load_state_dict(checkpoint["state_dict"])
    for optimizer, state in zip(trainer.optimizers, checkpoint["optimizer_states"], strict=True):
        rates = [_rates(group) for group in optimizer.param_groups]
        optimizer.load_state_dict(state)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group.update(rate)
    pl_module.zero_grad()  # gradients may be accumulated over batches
    for callback in trainer.callbacks:  # type: ignore[attr-defined] # set by a connector
        if isinstance(callback, AverageWeights):  # else the weights were the mean
            callback.on_load_checkpoint(trainer, pl_module, checkpoint)


def lower_rates(trainer: Trainer, factor: float) -> None:
    """Multiply all learning rates, and what schedules compute them from; checkpoints keep both."""
    for optimizer in trainer.optimizers:
        for group in optimizer.param_groups:
            group.update({name: rate * factor for name, rate in _rates(group).items()})
    for config in trainer.lr_scheduler_configs:
        for scheduler in _schedulers(config.scheduler):
            if hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs = [rate * factor for rate in scheduler.base_lrs]


def _rates(group: dict[str, Any]) -> dict[str, Any]:
    """The present rate of a parameter group, and the one that schedules began with."""
    return {name: group[name] for name in ("lr", "initial_lr") if name in group}


def _schedulers(scheduler: Any) -> Iterator[Any]:
    """A scheduler and those that it is made of."""
    yield scheduler
    for part in getattr(scheduler, "_schedulers", ()):
        yield from _schedulers(part)
