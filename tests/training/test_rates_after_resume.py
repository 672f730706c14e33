"""Rates and settings after a resume are those of an uninterrupted run of the new settings.

The expected rates come from PyTorch's own optimizers and schedulers, stepped by hand. With
`NAS_PRINT_RATES=1` and `-s` the test prints a table.
"""

import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import EarlyStopping, StochasticWeightAveraging
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    SequentialLR,
    StepLR,
)

from nas_lightning.callbacks import RollBackOnNaN
from nas_lightning.data.loaders import TrainLoader
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule
from nas_lightning.spaces import DartsNetwork
from nas_lightning.training.schedules import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    Schedule,
    TorchSchedule,
)
from nas_lightning.training.stage import Stage
from tests.conftest import SPEC, quiet_trainer, tiny_supernet
from tests.methods import rest_long

STOP, EPOCHS, LONGER = 3, 6, 9


def sequence(optimizer: Optimizer) -> LRScheduler:
    parts = [LinearLR(optimizer, 0.1, 1, 2), ExponentialLR(optimizer, 0.8)]
    return SequentialLR(optimizer, parts, [2])


def chain(optimizer: Optimizer) -> LRScheduler:
    parts = [ConstantLR(optimizer, 0.5, 4), ExponentialLR(optimizer, 0.8)]
    return ChainedScheduler(parts, optimizer)


SCHEDULES: dict[str, Schedule] = {
    "constant": ConstantSchedule(),
    "cosine": CosineSchedule(eta_min=0.001),
    "cosine with warm-up": CosineSchedule(warmup_epochs=4),
    "cosine from the start": CosineSchedule(warmup_epochs=4, from_start=True),
    "linear": LinearSchedule(tail_epochs=2),
    "linear with warm-up": LinearSchedule(tail_epochs=2, warmup_epochs=4),
    "ExponentialLR": TorchSchedule(partial(ExponentialLR, gamma=0.9)),
    "StepLR": TorchSchedule(partial(StepLR, step_size=2)),
    "MultiStepLR": TorchSchedule(partial(MultiStepLR, milestones=[2, 4, 7])),
    "CosineAnnealingLR": TorchSchedule(partial(CosineAnnealingLR, T_max=7, eta_min=1e-3)),
    "LinearLR": TorchSchedule(partial(LinearLR, total_iters=5)),
    "PolynomialLR": TorchSchedule(partial(PolynomialLR, total_iters=8)),
    "WarmRestarts": TorchSchedule(partial(CosineAnnealingWarmRestarts, T_0=2, T_mult=2)),
    "OneCycleLR": TorchSchedule(partial(OneCycleLR, max_lr=0.3, total_steps=LONGER)),
    "SequentialLR": TorchSchedule(sequence),
    "ChainedScheduler": TorchSchedule(chain),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "before": {"epochs": EPOCHS, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.0},
    "longer": {"epochs": LONGER},
    "other rate": {"lr": 0.2},
    "other settings": {"momentum": 0.5, "weight_decay": 0.01},
}
for name in ("longer", "other rate", "other settings"):
    SETTINGS[name] = {**SETTINGS["before"], **SETTINGS[name]}


def weight_optimizer(params: Any, *, lr: float, momentum: float, weight_decay: float) -> Optimizer:
    """SGD with two parameter groups."""
    first, *others = params
    groups = [{"params": [first], "lr": lr / 5}, {"params": others}]
    return SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)


def arch_optimizer(params: Any, *, lr: float, momentum: float, weight_decay: float) -> Optimizer:
    return Adam(params, lr=lr, betas=(momentum, 0.999), weight_decay=weight_decay)


class Search(SearchModule):
    """A search whose steps only move the optimizers."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        for optimizer in self.optimizers():  # type: ignore[union-attr] # two
            for group in optimizer.param_groups:
                for value in group["params"]:
                    value.grad = torch.ones_like(value)
            optimizer.step()


class Retrain(RetrainModule):
    """A retraining with a trivial loss."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self._loss = sum(value.sum() for value in self.parameters())  # type: ignore[assignment]
        return self._loss


class Watch(Callback):
    """The settings of all parameter groups in each epoch."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.seen: dict[int, list[dict[str, Any]]] = {}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self.seen[trainer.current_epoch] = [settings(group) for group in groups]
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        first = [scheduler.get_last_lr()[0] for scheduler in schedulers]
        assert first == [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers]
        base = [rate for scheduler in schedulers for rate in scheduler.base_lrs]
        assert base == [group["initial_lr"] for group in groups]

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self.stop


def settings(group: dict[str, Any]) -> dict[str, Any]:
    names = ("lr", "initial_lr", "momentum", "betas", "weight_decay")
    return {name: group[name] for name in names if name in group}


@cache
def genotype() -> dict[str, Any]:
    search = module("search", ConstantSchedule(), **SETTINGS["before"])
    assert isinstance(search, SearchModule)
    return search.genotype().to_dict()


def module(kind: str, schedule: Schedule, epochs: int, **made: Any) -> Stage:
    weights = partial(weight_optimizer, **made)
    if kind == "retraining":
        network = DartsNetwork(channels=4, layers=3)
        return Retrain(SPEC, genotype(), network, None, weights, schedule, 0.0, 0.0)
    return Search(
        SPEC,
        tiny_supernet(),
        weight_optimizer=weights,
        weight_schedule=schedule,
        arch_optimizer=partial(arch_optimizer, **made),
        arch_schedule=schedule,
    )


def fit(one: Stage, epochs: int, *callbacks: Callback, ckpt: Path | None = None) -> Any:
    batches: Any = [torch.zeros(1)]
    trainer = quiet_trainer(max_epochs=epochs, callbacks=list(callbacks), limit_val_batches=0)
    loader = TrainLoader(batches, batch_size=None)
    trainer.fit(one, loader, loader, ckpt_path=ckpt, weights_only=True)
    return trainer


def expected(kind: str, schedule: Schedule, epochs: int, **made: Any) -> list[list[dict[str, Any]]]:
    """The settings of all groups in each epoch, from PyTorch alone."""

    def two() -> list[nn.Parameter]:
        return [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]

    optimizers = [weight_optimizer(two(), **made)]
    if kind == "search":
        optimizers.append(arch_optimizer([nn.Parameter(torch.zeros(1))], **made))
    schedulers = [schedule.build(optimizer, epochs) for optimizer in optimizers]
    found = []
    for _ in range(epochs):
        found.append([settings(group) for o in optimizers for group in o.param_groups])
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
    return found


@pytest.mark.parametrize("kind", rest_long(["search", "retraining"], keep=["search"]))
@pytest.mark.parametrize("name", list(SCHEDULES))
def test_every_epoch_after_a_resume_has_the_rates_of_the_new_settings(
    name: str, kind: str, tmp_path: Path
) -> None:
    schedule, path = SCHEDULES[name], tmp_path / "x.ckpt"
    build: Callable[..., Stage] = partial(module, kind, schedule)
    fit(build(**SETTINGS["before"]), EPOCHS, Watch(STOP)).save_checkpoint(path)
    for change, made in SETTINGS.items():
        watch, again = Watch(), build(**made)
        trainer = fit(again, made["epochs"], watch, ckpt=path)
        wanted = expected(kind, schedule, **made)
        assert list(watch.seen) == list(range(STOP, made["epochs"]))
        assert list(watch.seen.values()) == wanted[STOP:], change
        states = trainer.optimizers[0].state.values()
        assert {"momentum_buffer"} == {key for state in states for key in state}
        if os.environ.get("NAS_PRINT_RATES"):
            rates = " ".join(f"{groups[-1]['lr']:.5f}" for groups in watch.seen.values())
            print(f"\n{kind:<11} {name:<20} {change:<15} {rates}", end="")


@pytest.mark.parametrize("kind", ["search", "retraining"])
@pytest.mark.parametrize("name", ["cosine", "CosineAnnealingLR", "OneCycleLR"])
def test_roll_backs_lower_the_rates_of_the_new_settings(
    name: str, kind: str, tmp_path: Path
) -> None:
    schedule, path = SCHEDULES[name], tmp_path / "x.ckpt"
    before, after = RollBackOnNaN(rate_factor=0.8), RollBackOnNaN(rate_factor=0.8)
    before.count = 2
    first = module(kind, schedule, **SETTINGS["before"])
    fit(first, EPOCHS, Watch(STOP), before).save_checkpoint(path)
    made, watch = SETTINGS["other rate"], Watch()
    fit(module(kind, schedule, **made), made["epochs"], after, watch, ckpt=path)
    assert after.count == 2
    wanted = expected(kind, schedule, **made)[STOP:]
    assert len(watch.seen) == len(wanted) == EPOCHS - STOP
    for found, groups in zip(watch.seen.values(), wanted, strict=True):
        rates = [group["lr"] for group in groups]
        assert [group["lr"] for group in found] == pytest.approx([0.8**2 * rate for rate in rates])


@pytest.mark.filterwarnings("ignore:Early stopping conditioned on metric")
def test_the_patience_of_early_stopping_is_the_present_one(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    build = partial(module, "retraining", ConstantSchedule(), **SETTINGS["before"])
    fit(build(), EPOCHS, Watch(1), EarlyStopping("x", patience=1, strict=False)).save_checkpoint(
        path
    )
    patient = EarlyStopping("x", patience=7, strict=False)
    fit(build(), EPOCHS, Watch(2), patient, ckpt=path)
    assert patient.patience == 7


def test_averaged_weights_go_on_at_their_own_rates(tmp_path: Path) -> None:
    """`StochasticWeightAveraging` replaces the scheduler from its first epoch on."""
    path = tmp_path / "x.ckpt"
    seen: list[dict[int, list[float]]] = []

    class Rates(Callback):
        def __init__(self, stop: int | None = None) -> None:
            self.stop = stop
            seen.append({})

        def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            groups = trainer.optimizers[0].param_groups
            seen[-1][trainer.current_epoch] = [group["lr"] for group in groups]

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.should_stop = trainer.current_epoch + 1 == self.stop

    def run(stop: int | None = None, ckpt: Path | None = None) -> Any:
        one = module("retraining", CosineSchedule(), **SETTINGS["before"])
        average = StochasticWeightAveraging(0.02, swa_epoch_start=2, annealing_epochs=3)
        return fit(one, EPOCHS, Rates(stop), average, ckpt=ckpt)

    run()
    run(stop=4).save_checkpoint(path)
    run(ckpt=path)
    whole, _, resumed = seen
    assert {4, 5} <= set(resumed)
    assert [resumed[epoch] for epoch in (4, 5)] == [whole[epoch] for epoch in (4, 5)]
    assert whole[4] != whole[3]
