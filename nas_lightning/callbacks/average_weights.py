"""Averaging of the weights once the validation loss no longer falls."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.ranges import at_least, check

KEY = "average_weights"
"""Key of a checkpoint's plain weights and the state of the averaging."""


class AverageWeights(Callback):
    """Non-monotonically triggered averaging, as in NT-ASGD (Merity et al., ICLR 2018).

    Averaging begins when a validation loss is worse than the best loss from more than `nonmono`
    evaluations ago. From the next step on, the callback keeps the mean of the weights after every
    step but the first. Training continues with the plain weights and is not affected. Validation,
    test and prediction use the mean. The `state_dict` of a checkpoint also contains the mean; the
    plain weights are saved separately, and a resumed fit restores them.

    The averaging works with any optimizer. With `torch.optim.SGD` at a constant rate it gives the
    weights and the mean of a new `torch.optim.ASGD(t0=0, lambd=0)`, to which the released code
    changes. That optimizer's mean leaves out the weights after its first step, as the mean here
    does. It is itself unsuitable for sequences of random length: it steps with the learning rate
    of the previous batch, so `rate_scale` would apply to the wrong batch.

    Args:
        nonmono: Number of latest evaluations with which a loss is not compared.
        monitor: Name under which the monitored loss is logged.

    Raises:
        UsageError: `nonmono` is negative, `monitor` is not logged, the module is not a retraining,
            or `checkpoint.save_weights_only` is set.
    """

    mode = "min"
    """Direction in which the monitored metric must be better."""

    def __init__(self, nonmono: int = 5, monitor: str = "retrain/val_loss") -> None:
        self.nonmono = nonmono
        check(self, nonmono=at_least(0))
        self.monitor = monitor
        self.history: list[float] = []
        self.averaging = False
        self.averaged = 0
        """Number of steps since averaging began."""
        self._other: dict[str, Tensor] = {}
        """The mean by parameter name; during an evaluation, the plain weights."""
        self._evaluating = False
        self._last_step = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that the run is a retraining with complete checkpoints.

        Raises:
            UsageError: It is not.
        """
        if stage != "fit":
            return
        if not pl_module.automatic_optimization:
            raise UsageError("AverageWeights is for retraining: remove it from trainer.callbacks")
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.save_weights_only:
                # Lightning then calls no callback, so the plain weights would be saved
                raise UsageError("AverageWeights: set checkpoint.save_weights_only to false")

    # -- the mean ------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move a loaded mean to the device of the weights."""
        for name, value in pl_module.named_parameters():
            if name in self._other:
                self._other[name] = self._other[name].to(value.device)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count steps from the current one."""
        self._last_step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Add the weights to the mean if the batch ended with a step."""
        self._add_to_mean(trainer, pl_module)

    @torch.no_grad()
    def _add_to_mean(self, trainer: Trainer, pl_module: LightningModule) -> None:
        stepped = trainer.global_step > self._last_step
        self._last_step = trainer.global_step
        if not self.averaging or not stepped:
            return
        self.averaged += 1
        for name, value in pl_module.named_parameters():
            if self.averaged <= 2:  # as in `ASGD`, the mean begins with the second step
                self._other[name] = value.detach().clone()
            else:
                self._other[name].lerp_(value, 1 / (self.averaged - 1))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the plain weights and start averaging if the loss no longer falls.

        Raises:
            UsageError: The monitored loss is not logged.
        """
        self._exchange(pl_module, evaluating=False)
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self.monitor not in trainer.callback_metrics:
            logged = ", ".join(sorted(trainer.callback_metrics))
            raise UsageError(
                f"AverageWeights: {self.monitor!r} is not logged: set monitor to one of {logged}"
            )
        loss = float(trainer.callback_metrics[self.monitor])
        older = self.history[: max(0, len(self.history) - self.nonmono)]
        if not self.averaging and older and loss > min(older):
            self.averaging = True
            if trainer.is_global_zero:
                print(f"epoch {trainer.current_epoch + 1}: averaging of weights begins", flush=True)
        self.history.append(loss)

    # -- evaluation ----------------------------------------------------------------------------

    @torch.no_grad()
    def _exchange(self, pl_module: LightningModule, evaluating: bool) -> None:
        """Swap the mean and the plain weights at the start and the end of an evaluation."""
        if not self.averaged or evaluating == self._evaluating:
            return
        self._evaluating = evaluating
        for name, value in pl_module.named_parameters():
            before = value.detach().clone()
            value.copy_(self._other[name])
            self._other[name].copy_(before)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Swap in the mean."""
        self._exchange(pl_module, evaluating=True)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Swap in the mean."""
        self._exchange(pl_module, evaluating=True)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the plain weights."""
        self._exchange(pl_module, evaluating=False)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Swap in the mean."""
        self._exchange(pl_module, evaluating=True)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the plain weights."""
        self._exchange(pl_module, evaluating=False)

    # -- checkpoints ---------------------------------------------------------------------------

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the mean as the weights of the checkpoint, and the plain weights separately."""
        if trainer.training:  # another callback may save before our hook has run
            self._add_to_mean(trainer, pl_module)
        plain: dict[str, Tensor] = {}
        if self.averaged:
            weights = dict(pl_module.named_parameters())
            mean, plain = self._other, {name: value.data for name, value in weights.items()}
            if self._evaluating:
                mean, plain = plain, mean
            of = {value: mean[name] for name, value in weights.items()}
            # tied weights are saved under each of their names
            for name, value in pl_module.named_parameters(remove_duplicate=False):
                checkpoint["state_dict"][name] = of[value]
        checkpoint[KEY] = {
            "history": list(self.history),
            "averaging": self.averaging,
            "averaged": self.averaged,
            "plain": plain,
        }

    @torch.no_grad()
    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore state and plain weights in a fit; an evaluation uses the loaded mean."""
        state = checkpoint.get(KEY, {})
        self.history = list(state.get("history", ()))
        self.averaging = state.get("averaging", False)
        fits = trainer.state.fn == "fit"
        self.averaged = state.get("averaged", 0) if fits else 0
        self._other, self._evaluating = {}, False
        self._last_step = trainer.global_step
        if not self.averaged:
            return
        for name, value in pl_module.named_parameters():
            self._other[name] = value.detach().clone()
            value.copy_(state["plain"][name])
