"""The last epochs of a run, in which schedules and ramps are over."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from torch.optim.lr_scheduler import ExponentialLR

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule, SearchPlan, SearchStrategy
from nas_lightning.strategies import GDAS, BetaDecay
from nas_lightning.training.schedules import CosineSchedule, TorchSchedule
from tests.conftest import SearchFactory, TrainerFactory


class Last(SearchStrategy):
    """Takes the last three epochs, with a tenth of the rate."""

    def verify(self, plan: SearchPlan) -> None:
        plan.end_with(3, lambda epoch, initial: initial / 10 - epoch * 1e-5, by=self)


class Also(Last):
    """Another one."""


class Rates(Callback):
    """Keeps the rates, the temperature, the penalty and the rate of drop path of each epoch."""

    def __init__(self) -> None:
        self.weights: list[float] = []
        self.arch: list[float] = []
        self.tau: list[float] = []
        self.decay: list[float] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, *_: object
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        for kept, optimizer in zip((self.weights, self.arch), trainer.optimizers, strict=True):
            kept.append(optimizer.param_groups[0]["lr"])
        for strategy in pl_module.strategies:
            if isinstance(strategy, GDAS):
                self.tau.append(cast("Any", pl_module.arch.ops).temperature)
            if isinstance(strategy, BetaDecay):
                self.decay.append(float(strategy._now))


def rates(
    strategies: list[SearchStrategy], make_search: SearchFactory, make_trainer: TrainerFactory,
    data: Synthetic, epochs: int, **settings: Any,
) -> Rates:  # fmt: skip
    kept = Rates()
    trainer = make_trainer(max_epochs=epochs, limit_train_batches=1, limit_val_batches=0,
                           callbacks=[kept])  # fmt: skip
    trainer.fit(make_search(strategies, **settings), datamodule=data)
    return kept


def test_schedules_and_ramps_end_before_it(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """The first four epochs are those of a run of four epochs, and then everything stays."""
    cosine: dict[str, Any] = {
        "weight_schedule": CosineSchedule(0.001), "arch_schedule": CosineSchedule(),
    }  # fmt: skip
    parts = make_search, make_trainer, search_data
    short = rates([GDAS(8.0, 2.0), BetaDecay(4.0)], *parts, 4, **cosine)
    whole = rates([GDAS(8.0, 2.0), BetaDecay(4.0), Last()], *parts, 7, **cosine)
    for name in ("weights", "arch", "tau", "decay"):
        assert getattr(whole, name)[:4] == getattr(short, name), name
    assert whole.weights[4:] == pytest.approx([0.0025, 0.00249, 0.00248])
    assert whole.arch[4:] == [short.arch[-1]] * 3
    assert whole.tau[4:] == [2.0] * 3
    assert whole.decay[4:] == [4.0] * 3


class Save(Checkpoint):
    """Saves a checkpoint at the end of an epoch."""

    def __init__(self, path: Path, epoch: int) -> None:
        self.path, self.epoch = path, epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.path)


def test_it_follows_any_schedule_and_is_found_again_at_a_resume(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic, tmp_path: Path
) -> None:
    def fit(*callbacks: Callback, path: Path | None = None) -> list[float]:
        kept = Rates()
        schedule = TorchSchedule(partial(ExponentialLR, gamma=0.5))
        trainer = make_trainer(
            max_epochs=7,
            limit_train_batches=1,
            limit_val_batches=0,
            callbacks=[kept, *callbacks],
            enable_checkpointing=bool(callbacks),
        )
        module = make_search([Last()], weight_schedule=schedule)
        trainer.fit(module, datamodule=search_data, ckpt_path=path)
        return kept.weights

    whole = fit(Save(tmp_path / "at.ckpt", 4))
    assert whole[:4] == [0.025 * 0.5**e for e in range(4)]
    assert fit(path=tmp_path / "at.ckpt") == whole[5:]


def test_a_run_without_other_epochs_is_refused_in_one_line(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    with pytest.raises(UsageError, match=r"takes the last 3 epochs, so trainer.max_epochs 3"):
        make_trainer(max_epochs=3).fit(make_search([Last()]), datamodule=search_data)
    stopper = EarlyStopping("search/val_loss")
    trainer = make_trainer(max_epochs=4, callbacks=[stopper])
    with pytest.raises(UsageError, match="EarlyStopping would end the search before Last"):
        trainer.fit(make_search([Last()]), datamodule=search_data)


def test_two_cannot_have_it(make_search: SearchFactory) -> None:
    with pytest.raises(UsageError, match="conflicting strategies: Last and Also both take the la"):
        make_search([Last(), Also()])
    assert "last epochs" in make_search([Last()]).plan.describe()


def test_a_trial_of_one_batch_has_none(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    trainer = make_trainer(fast_dev_run=True)
    trainer.fit(make_search([Last()]), datamodule=search_data)
    assert trainer.global_step > 0
