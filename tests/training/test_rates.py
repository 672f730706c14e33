"""Rates of a scheduler that are known before the run, and loads of any state."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ExponentialLR,
    LambdaLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from nas_lightning.errors import UsageError
from nas_lightning.training.rates import EpochRates
from nas_lightning.training.schedules import TorchSchedule


def sgd(lr: float = 0.1) -> SGD:
    return SGD([nn.Parameter(torch.zeros(1))], lr=lr)


def half(optimizer: Optimizer) -> LRScheduler:
    return ExponentialLR(optimizer, 0.5)


def sequence(optimizer: Optimizer) -> LRScheduler:
    return SequentialLR(optimizer, [StepLR(optimizer, 1), half(optimizer)], [2])


def chain(optimizer: Optimizer) -> LRScheduler:
    return ChainedScheduler([StepLR(optimizer, 1), half(optimizer)], optimizer)


@pytest.mark.parametrize(
    "build", [half, sequence, chain, lambda o: LambdaLR(o, lambda e: 1 / (e + 1))]
)
def test_the_state_of_any_scheduler_says_the_epoch(build: Callable[[Any], LRScheduler]) -> None:
    """Checkpoints of earlier releases hold states of PyTorch's own classes."""
    optimizer = sgd(lr=0.7)
    other = build(optimizer)
    for _ in range(3):
        optimizer.step()
        other.step()
    mine = EpochRates(sgd(), half, 9)
    mine.load_state_dict(other.state_dict())
    assert mine.last_epoch == 3
    assert mine.get_last_lr() == [0.1 * 0.5**3] == [mine.optimizer.param_groups[0]["lr"]]
    assert mine.base_lrs == [0.1] == [mine.optimizer.param_groups[0]["initial_lr"]]


def test_the_factor_survives_a_load() -> None:
    one, other = EpochRates(sgd(), half, 9), EpochRates(sgd(lr=0.4), half, 9)
    one.rescale(0.25)
    one.optimizer.step()
    one.step()
    assert one.get_last_lr() == [0.1 * 0.25 * 0.5]
    other.load_state_dict(one.state_dict())
    assert other.get_last_lr() == [0.4 * 0.25 * 0.5]
    other.optimizer.step()
    other.step()
    assert other.optimizer.param_groups[0]["lr"] == 0.4 * 0.25 * 0.5**2


@pytest.mark.parametrize(
    ("build", "epochs", "text"),
    [
        (partial(OneCycleLR, max_lr=1.0, total_steps=4), 5, r"after epoch 5: Tried to step 5"),
        (partial(LambdaLR, lr_lambda=lambda e: 1.0 - e), 3, r"the learning rate -0.1 in epoch 3"),
        (partial(LambdaLR, lr_lambda=lambda e: 1e999), 1, r"the learning rate inf in epoch 1"),
    ],
)  # fmt: skip
def test_a_scheduler_that_fails_within_the_run_is_refused_before_it(
    build: Callable[[Optimizer], LRScheduler], epochs: int, text: str
) -> None:
    EpochRates(sgd(), partial(OneCycleLR, max_lr=1.0, total_steps=5), 5)
    with pytest.raises(UsageError, match=text) as caught:
        EpochRates(sgd(), build, epochs)
    assert "\n" not in str(caught.value)


def test_a_scheduler_that_follows_a_metric_is_refused() -> None:
    def wrapped(optimizer: Optimizer) -> Any:
        return ReduceLROnPlateau(optimizer)

    for make in (
        lambda: TorchSchedule(ReduceLROnPlateau),
        lambda: TorchSchedule(partial(ReduceLROnPlateau, patience=3)),
        lambda: TorchSchedule(wrapped).build(sgd(), 3),
    ):
        with pytest.raises(UsageError, match=r"ReduceLROnPlateau is not supported.*: use Cosine"):
            make()


def test_arguments_that_a_scheduler_refuses_are_named() -> None:
    with pytest.raises(UsageError, match=r"TorchSchedule: .*total_steps"):
        TorchSchedule(partial(OneCycleLR, max_lr=1.0)).build(sgd(), 3)
