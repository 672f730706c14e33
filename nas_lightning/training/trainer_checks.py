"""Checks of a trainer's settings that Lightning refuses late, or in words for Python only."""

from __future__ import annotations

from lightning import Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Callback,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
    WeightAveraging,
)
from torch import nn

from nas_lightning.errors import UsageError
from nas_lightning.layers.half import check_dilated
from nas_lightning.ranges import NOT_NEGATIVE, at_least, check_value

FINDERS: dict[type[Callback], str] = {
    LearningRateFinder: "it trains before the run and would change the search or the training: "
    "compare a few short runs with other rates of model.{optimizer}",
    BatchSizeFinder: "the shares of the data depend on the batch size: set data.batch_size; "
    "`nas bench --batch N` prints time and memory of a batch size",
}
"""Callbacks that no stage supports, and the reason and alternative."""
BY_HAND: dict[type[Callback], str] = {
    StochasticWeightAveraging: "it averages weights, but a search also learns α: average the "
    "weights of the retraining",
    WeightAveraging: "it averages weights, but a search also learns α: average the weights of the "
    "retraining",
    GradientAccumulationScheduler: "a search steps α and the weights in every batch: raise "
    "data.batch_size",
}
"""Callbacks that a search does not support, and the reason and alternative."""


def check_trainer(trainer: Trainer, network: nn.Module, search: bool) -> None:
    """Check the settings of a trainer before a fit.

    Args:
        trainer: The trainer.
        network: What is trained.
        search: True for a search, which steps its two optimizers itself.

    Raises:
        UsageError: A setting is out of range or not supported.
    """
    check_value("trainer.gradient_clip_val", trainer.gradient_clip_val, NOT_NEGATIVE)
    accumulate = trainer.accumulate_grad_batches
    check_value("trainer.accumulate_grad_batches", accumulate, at_least(1))
    if search and trainer.gradient_clip_val:
        raise UsageError(
            f"trainer.gradient_clip_val has no effect on a search: set model.gradient_clip to "
            f"{trainer.gradient_clip_val:g} instead (for α and β, model.arch_gradient_clip)"
        )
    if search and accumulate > 1:
        raise UsageError(
            f"trainer.accumulate_grad_batches must be 1, found {accumulate}: a search steps α and "
            f"the weights in every batch; raise data.batch_size instead"
        )
    if search and trainer.precision in ("16-true", "bf16-true"):
        raise UsageError(
            f"trainer.precision {trainer.precision} loses small steps of α: use bf16-mixed"
        )
    if "bf16" in str(trainer.precision) and trainer.strategy.root_device.type == "cpu":
        check_dilated(network)
    refused = {**FINDERS, **BY_HAND} if search else FINDERS
    for callback in trainer.callbacks:  # type: ignore[attr-defined] # set by a connector
        for kind, reason in refused.items():
            if isinstance(callback, kind):
                optimizer = "weight_optimizer" if search else "optimizer"
                raise UsageError(
                    f"trainer.callbacks: {type(callback).__name__} is not supported here; "
                    f"{reason.format(optimizer=optimizer)}"
                )
