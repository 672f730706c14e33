"""Averages of the weights, once the validation loss no longer falls."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from nas_lightning.errors import UsageError

KEY = "average_weights"
"""Where a checkpoint keeps the weights that training goes on with, and the state."""


class AverageWeights(Callback):
    """Non-monotonically triggered averaging, the idea of NT-ASGD (Merity et al., ICLR 2018).

    When a validation loss is worse than the best of those that are older than `nonmono`
    evaluations, averaging begins: from the next step on, the mean of the weights behind every step
    is kept beside the weights. Training goes on with the plain weights and does not notice.
    Validation, test and prediction use the mean. So does whoever reads a checkpoint, as its
    `state_dict` holds the mean; a resumed fit takes the plain weights from beside it.

    The averages are kept here, and so go with any optimizer; with `torch.optim.SGD` they are
    those of `torch.optim.ASGD(lambd=0)`. That optimizer itself is of no use for sequences of random
    length: it steps with the learning rate of the batch before, so `rate_scale` would act on the
    wrong batch.

    Args:
        nonmono: How many of the latest evaluations a loss is not compared with.
        monitor: The loss that is watched, as it is logged.

    Raises:
        UsageError: `nonmono` is negative, `monitor` is not logged, or the run does not fit.
    """

    def __init__(self, nonmono: int = 5, monitor: str = "retrain/val_loss") -> None:
        if nonmono < 0:
            raise UsageError(f"AverageWeights: nonmono must not be negative, found {nonmono}")
        self.nonmono = nonmono
        self.monitor = monitor
        self.history: list[float] = []
        self.averaging = False
        self.averaged = 0
        """Steps whose weights the mean is of."""
        self._other: dict[str, Tensor] = {}
        """The mean by parameter; during an evaluation the plain weights."""
        self._evaluating = False
        self._last_step = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that the run is one that this is for.

        Raises:
            UsageError: It is not.
        """
        if stage != "fit":
            return
        if not pl_module.automatic_optimization:
            raise UsageError("AverageWeights is for retraining: take it out of trainer.callbacks")
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.save_weights_only:
                # Lightning asks no callback then: the plain weights would be saved
                raise UsageError("AverageWeights needs checkpoint.save_weights_only to be false")

    # -- the mean ------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring a loaded mean to where the weights are now."""
        for name, value in pl_module.named_parameters():
            if name in self._other:
                self._other[name] = self._other[name].to(value.device)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count steps from here."""
        self._last_step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take the weights into the mean, if there was a step."""
        self._take_in(trainer, pl_module)

    @torch.no_grad()
    def _take_in(self, trainer: Trainer, pl_module: LightningModule) -> None:
        stepped = trainer.global_step > self._last_step
        self._last_step = trainer.global_step
        if not self.averaging or not stepped:
            return
        self.averaged += 1
        for name, value in pl_module.named_parameters():
            if self.averaged == 1:
                self._other[name] = value.detach().clone()
            else:
                self._other[name].lerp_(value, 1 / self.averaged)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back to the plain weights; begin to average if the loss no longer falls.

        Raises:
            UsageError: The loss is not logged.
        """
        self._exchange(pl_module, evaluating=False)
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self.monitor not in trainer.callback_metrics:
            logged = ", ".join(sorted(trainer.callback_metrics))
            raise UsageError(
                f"AverageWeights: no metric {self.monitor!r} is logged; there are {logged}"
            )
        loss = float(trainer.callback_metrics[self.monitor])
        older = self.history[: max(0, len(self.history) - self.nonmono)]
        if not self.averaging and older and loss > min(older):
            self.averaging = True
            if trainer.is_global_zero:
                print(f"epoch {trainer.current_epoch}: weights are averaged from here", flush=True)
        self.history.append(loss)

    # -- evaluation ----------------------------------------------------------------------------

    @torch.no_grad()
    def _exchange(self, pl_module: LightningModule, evaluating: bool) -> None:
        """Put the mean in place of the plain weights, or take it out."""
        if not self.averaged or evaluating == self._evaluating:
            return
        self._evaluating = evaluating
        for name, value in pl_module.named_parameters():
            before = value.detach().clone()
            value.copy_(self._other[name])
            self._other[name].copy_(before)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate the mean."""
        self._exchange(pl_module, evaluating=True)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate the mean."""
        self._exchange(pl_module, evaluating=True)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back to the plain weights."""
        self._exchange(pl_module, evaluating=False)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate the mean."""
        self._exchange(pl_module, evaluating=True)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back to the plain weights."""
        self._exchange(pl_module, evaluating=False)

    # -- checkpoints ---------------------------------------------------------------------------

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Make the mean the checkpoint's weights, and keep the plain ones beside them."""
        if trainer.training:  # another callback may save before it is our turn
            self._take_in(trainer, pl_module)
        plain: dict[str, Tensor] = {}
        if self.averaged:
            weights = dict(pl_module.named_parameters())
            mean, plain = self._other, {name: value.data for name, value in weights.items()}
            if self._evaluating:
                mean, plain = plain, mean
            of = {value: mean[name] for name, value in weights.items()}
            # weights that are tied stand there under each of their names
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
        """Go on from there in a fit; to evaluate, the mean is in the module already."""
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
