"""Roll-back of a diverged run to a checkpoint, with a lower learning rate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightning import Callback, LightningModule, Trainer

from nas_lightning.callbacks.average_weights import AverageWeights
from nas_lightning.errors import DivergedError, UsageError
from nas_lightning.ranges import Range, at_least, check, check_value
from nas_lightning.training.epochs import place
from nas_lightning.training.rates import EpochRates
from nas_lightning.training.recovery import DATA, sound_checkpoint
from nas_lightning.training.stage import Stage

LOWER = "start again with a lower learning rate"


class RollBackOnNaN(Callback):
    """Restore a checkpoint and lower the learning rate if a loss or gradient is not finite.

    A search returns to its last checkpoint, a retraining to its best. If that checkpoint is
    damaged or not finite either, it tries the others: best, last, previous, and the one from which
    the run was resumed. The checkpoint restores the weights, α and β, the states of the optimizers
    and of the strategies, and the averages of `AverageWeights`. Training then continues with the
    next batch of the current epoch. Returning to the position of the checkpoint in the data as
    well, as the released code of DARTS does, would here repeat the same draws and the same loss.
    The hidden state of a training text is reset.

    The learning rates of a `Stage` are those of its schedules times `rate_factor` to the power of
    the number of roll-backs, also after a resume. For other modules the rates and the `base_lrs` of
    their schedulers are multiplied.

    A search does not log the diverged batch. In a retraining its loss is part of the mean of the
    epoch, which is then not finite. The number of roll-backs is logged as `search/rollbacks` or
    `retrain/rollbacks`.

    Args:
        patience: Number of roll-backs after which the next divergence is an error.
        rate_factor: Factor by which each roll-back multiplies the learning rates; 1 keeps them.

    Raises:
        UsageError: `patience` is negative, `rate_factor` is not above 0 and at most 1, or the
            module uses manual optimization and is not a `Stage`.
        DivergedError: There is no finite checkpoint yet, or `patience` is exhausted.
    """

    def __init__(self, patience: int = 10, rate_factor: float = 0.5) -> None:
        self.patience = patience
        self.rate_factor = rate_factor
        check(self, patience=at_least(0), rate_factor=Range(high=1, above=True))
        self.count = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Tell the module that a step that is not finite must not end the run.

        Raises:
            UsageError: The module does not report such steps.
        """
        if stage != "fit":
            return
        if isinstance(pl_module, Stage):
            pl_module.rolls_back = True
        elif not pl_module.automatic_optimization:
            raise UsageError(
                f"RollBackOnNaN cannot check the steps of {type(pl_module).__name__}: remove it "
                f"from trainer.callbacks"
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Tell the module that a step that is not finite is an error again."""
        if isinstance(pl_module, Stage):
            pl_module.rolls_back = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lower the rates of a resumed run as often as it was rolled back."""
        self._rescale(trainer)

    def _rescale(self, trainer: Trainer) -> None:
        for config in trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, EpochRates):
                config.scheduler.rescale(self.rate_factor**self.count)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Roll back on all processes if the step of the batch was not finite.

        Raises:
            DivergedError: There is no finite checkpoint, or `patience` is exhausted.
        """
        broken = _broken(trainer, pl_module, outputs, batch_idx)
        if broken is None:
            return
        if self.count == self.patience:
            larger = "or resume with a larger patience of RollBackOnNaN"
            raise _end(broken, f"after {self.count} roll-backs", f"{LOWER}, {larger}")
        found = sound_checkpoint(trainer, best_first=pl_module.automatic_optimization)
        if found is None:
            why = "and there is no finite checkpoint to return to yet"
            raise _end(broken, why, LOWER)
        path, checkpoint = found
        self.count += 1
        restore(trainer, pl_module, checkpoint)
        lower_rates(trainer, self.rate_factor)
        self._rescale(trainer)
        if trainer.is_global_zero:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            print(
                f"{broken}: rolled back to {path}, learning rate now {rate:g} "
                f"(roll-back {self.count} of {self.patience})",
                flush=True,
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the number of roll-backs."""
        kind = pl_module.kind if isinstance(pl_module, Stage) else "retrain"
        # equal on all processes
        pl_module.log(f"{kind}/rollbacks", float(self.count), rank_zero_only=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of roll-backs."""
        return {"count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the number of roll-backs."""
        self.count = state_dict["count"]
        check_value("the checkpoint: count of RollBackOnNaN", self.count, at_least(0))


def _end(broken: DivergedError, why: str, advice: str) -> DivergedError:
    """Return the error that ends the run."""
    return DivergedError(f"{broken}, {why}: {DATA if broken.data else advice}", data=broken.data)


def _broken(
    trainer: Trainer, pl_module: LightningModule, outputs: Any, batch_idx: int
) -> DivergedError | None:
    """Return the error of a step that was not finite on any process, else `None`."""
    if isinstance(pl_module, Stage):  # the step was not taken
        error, pl_module.diverged = pl_module.diverged, None
        return error
    broken = not bool(outputs["loss"].isfinite())
    # all processes roll back, or their weights would differ
    if not trainer.strategy.reduce_boolean_decision(broken, all=False):
        return None
    return DivergedError(f"the loss of {place(trainer.current_epoch, batch_idx)} is not finite")


def restore(trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Restore weights and optimizer states in the middle of a fit, but not the learning rates."""
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
        if isinstance(callback, AverageWeights):  # otherwise the weights would be the mean
            callback.on_load_checkpoint(trainer, pl_module, checkpoint)


def lower_rates(trainer: Trainer, factor: float) -> None:
    """Multiply the rates of the optimizers whose scheduler is not an `EpochRates`.

    Checkpoints store these rates, and the base rates of schedulers, which are multiplied too.
    """
    whole = [config.scheduler for config in trainer.lr_scheduler_configs]
    follow = [scheduler.optimizer for scheduler in whole if isinstance(scheduler, EpochRates)]
    for optimizer in trainer.optimizers:
        if not any(optimizer is one for one in follow):
            for group in optimizer.param_groups:
                group.update({name: rate * factor for name, rate in _rates(group).items()})
    for scheduler in (part for one in whole for part in _schedulers(one)):
        if hasattr(scheduler, "base_lrs") and not isinstance(scheduler, EpochRates):
            scheduler.base_lrs = [rate * factor for rate in scheduler.base_lrs]


def _rates(group: dict[str, Any]) -> dict[str, Any]:
    """Return the current and the initial learning rate of a parameter group."""
    return {name: group[name] for name in ("lr", "initial_lr") if name in group}


def _schedulers(scheduler: Any) -> Iterator[Any]:
    """Yield a scheduler and the schedulers that it consists of."""
    yield scheduler
    for part in getattr(scheduler, "_schedulers", ()):
        yield from _schedulers(part)
