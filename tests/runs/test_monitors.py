"""Metrics that callbacks monitor are known, and their directions, before a run starts."""

from typing import Any

import pytest
from lightning import Callback, LightningDataModule
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from nas_lightning.callbacks import AverageWeights, RunCheckpoint
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.retrain import RetrainModule
from nas_lightning.runs.monitors import check_monitors, check_position_of_validation
from nas_lightning.strategies import AmendedGradient, WarmUp
from tests.conftest import SPEC, SearchFactory, TrainerFactory

SIZES = {"num_classes": 4, "image_size": 8, "train_size": 32, "test_size": 8, "batch_size": 8}


class Mine(Callback):
    """A user's own callback, which may log anything."""


class WithoutValidation(LightningDataModule):
    """Data with nothing to validate on."""


def check(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    callback: Callback,
    *more: Callback,
    data: LightningDataModule | None = None,
    **settings: Any,
) -> None:
    """Check the metric of a callback in a search with a warm-up and an estimator that logs."""
    strategies = [WarmUp(2), AmendedGradient()]
    settings = {"callbacks": [callback, *more], "enable_checkpointing": True, **settings}
    module = make_search(strategies)
    check_monitors(make_trainer(**settings), module, data or Synthetic(**SIZES))


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (RunCheckpoint(monitor="val_loss"), "checkpoint.monitor: no metric 'val_loss' is logged; "
         r"did you mean search/val_loss\?"),
        (RunCheckpoint(monitor="search/val_los"), r"mean search/val_loss"),
        (EarlyStopping("retrain/val_loss"), "EarlyStopping.monitor: .*search/val_loss"),
        (EarlyStopping("val_acc", mode="max"), r"search/val_accuracy"),
        (EarlyStopping("neumann/cosine", mode="max"), "no metric 'neumann/cosine' is logged"),
        (ModelCheckpoint("x", monitor="loss"), "ModelCheckpoint.monitor: no metric 'loss'"),
        (EarlyStopping("zzzzz"), "there are search/arch_accuracy, search/arch_loss, "),
        (EarlyStopping("search/val_accuracy"), "EarlyStopping.mode is min, but .* set it to max"),
        (EarlyStopping("search/arch_loss", mode="max"), "EarlyStopping.mode is max, but"),
        (ModelCheckpoint("x", monitor="search/val_accuracy"), "ModelCheckpoint.mode is min, but"),
        (AverageWeights(monitor="search/val_accuracy"), "AverageWeights.mode is min, but"),
    ],
)  # fmt: skip
def test_wrong_names_and_directions_are_refused(
    callback: Callback, message: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    with pytest.raises(UsageError, match=message):
        check(make_search, make_trainer, callback)


@pytest.mark.parametrize(
    "callback",
    [
        RunCheckpoint(monitor="search/train_loss_epoch"),
        RunCheckpoint(monitor="search/skips_normal", mode="min"),
        EarlyStopping("alpha/normal/0-2/none"),
        EarlyStopping("amended/cosine", mode="max"),
        EarlyStopping("lr-SGD"),
        AverageWeights(monitor="search/val_loss"),
    ],
)
def test_right_ones_are_taken(
    callback: Callback, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    check(make_search, make_trainer, callback)


def test_a_callback_of_the_user_may_log_more(
    make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    check(make_search, make_trainer, EarlyStopping("mine"), Mine())


@pytest.mark.parametrize(
    ("settings", "data", "message"),
    [
        ({"limit_val_batches": 0}, None, "limit_val_batches 0 leaves nothing for checkpoint"),
        ({"check_val_every_n_epoch": 2}, None, "check_val_every_n_epoch 2 is more than the 1 "),
        ({"check_val_every_n_epoch": None, "val_check_interval": 2}, None, "set .* to a number"),
        ({}, Synthetic(mode="retrain", val_fraction=0, **SIZES), "val_fraction 0 leaves no"),
        ({}, WithoutValidation(), "WithoutValidation has no validation data"),
    ],
)
def test_without_validation_no_validation_metric_is_monitored(
    settings: dict[str, Any],
    data: LightningDataModule | None,
    message: str,
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
) -> None:
    saving = RunCheckpoint(monitor="search/val_loss")
    with pytest.raises(UsageError, match=message):
        check(make_search, make_trainer, saving, data=data, **settings)
    check(make_search, make_trainer, RunCheckpoint(), data=data, **settings)


def test_early_stopping_skips_epochs_without_its_metric(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """In a warm-up there is no outer loss."""
    stopping = EarlyStopping("search/arch_loss", patience=0, min_delta=100)
    trainer = make_trainer(callbacks=[stopping], max_epochs=6, limit_train_batches=1)
    module = make_search([WarmUp(2)])
    check_monitors(trainer, module, search_data)
    trainer.fit(module, datamodule=search_data)
    # the first outer loss is that of the third epoch, and the next is not better by so much
    assert trainer.current_epoch == 4


@pytest.mark.parametrize(("every", "fits"), [(3, False), (0.75, False), (2, True), (1.0, True)])
def test_the_last_validation_of_an_epoch_rates_the_weights_of_its_checkpoint(
    every: float, fits: bool, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    data = Synthetic(**{**SIZES, "train_size": 64})  # four batches
    reached: list[bool] = []

    class Check(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            check_position_of_validation(trainer, pl_module)
            reached.append(True)
            trainer.should_stop = True

    saving = RunCheckpoint(monitor="search/val_loss")
    callbacks = [Check(), saving]
    trainer = make_trainer(callbacks=callbacks, enable_checkpointing=True, val_check_interval=every)
    if fits:
        trainer.fit(make_search(), datamodule=data)
    else:
        with pytest.raises(UsageError, match=r"--trainer\.limit_train_batches 3"):
            trainer.fit(make_search(), datamodule=data)
    assert bool(reached) == fits


def test_a_retraining_knows_its_names(make_trainer: TrainerFactory) -> None:
    module = RetrainModule(SPEC, "DARTS_V2", auxiliary_weight=0.0)
    data = Synthetic(mode="retrain", val_fraction=0.5, **SIZES)
    saving = RunCheckpoint(monitor="retrain/val_accuracy")
    check_monitors(make_trainer(callbacks=[saving], enable_checkpointing=True), module, data)
    assert saving.mode == "max"
    stopping = EarlyStopping("search/val_loss")
    with pytest.raises(UsageError, match="did you mean retrain/val_loss"):
        check_monitors(make_trainer(callbacks=[stopping]), module, data)
