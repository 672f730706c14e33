"""Settings of a trainer that cannot work are refused in words of the command line."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
)
from torch import nn

from nas_lightning.errors import UsageError
from nas_lightning.training.trainer_checks import check_trainer
from tests.conftest import SearchFactory, TrainerFactory, quiet_trainer

REFUSED: list[tuple[dict[str, Any], str, bool]] = [
    ({"gradient_clip_val": 5.0}, r"set model\.gradient_clip to 5 instead .*arch_gradient", False),
    ({"gradient_clip_val": -1.0}, r"gradient_clip_val must be at least 0, found -1\.0", True),
    ({"gradient_clip_val": float("nan")}, "gradient_clip_val must be a finite number", True),
    ({"accumulate_grad_batches": 2}, r"every batch; raise data\.batch_size instead", False),
    ({"accumulate_grad_batches": 0}, "accumulate_grad_batches must be at least 1", True),
    ({"precision": "16-true"}, "16-true loses small steps of α: use bf16-mixed", False),
    ({"precision": "bf16-true"}, "bf16-true loses small steps of α", False),
]
CALLBACKS: list[tuple[Callable[[], Callback], str, bool]] = [
    (LearningRateFinder, r"LearningRateFinder is not .* rates of model\.(weight_)?opt", True),
    (BatchSizeFinder, r"BatchSizeFinder is not .* set data\.batch_size", True),
    (lambda: StochasticWeightAveraging(0.1), "StochasticWeightAveraging is not", False),
    (EMAWeightAveraging, "EMAWeightAveraging is not .* of the retraining", False),
    (lambda: GradientAccumulationScheduler({0: 2}), r"raise data\.batch_size", False),
]


def refused(trainer: Trainer, search: bool, text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        check_trainer(trainer, nn.Identity(), search)
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(":")


@pytest.mark.parametrize(("settings", "text", "both"), REFUSED)
def test_settings_that_cannot_work_are_refused(
    settings: dict[str, Any], text: str, both: bool
) -> None:
    refused(quiet_trainer(**settings), True, text)
    if both:
        refused(quiet_trainer(**settings), False, text)
    else:
        check_trainer(quiet_trainer(**settings), nn.Identity(), search=False)


@pytest.mark.parametrize(("make", "text", "both"), CALLBACKS)
def test_callbacks_that_cannot_work_are_refused(
    make: Callable[[], Callback], text: str, both: bool
) -> None:
    refused(quiet_trainer(callbacks=[make()]), True, text)
    if both:
        refused(quiet_trainer(callbacks=[make()]), False, text)
    else:
        check_trainer(quiet_trainer(callbacks=[make()]), nn.Identity(), search=False)


def test_a_search_is_refused_before_lightning_does(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Any
) -> None:
    trainer = make_trainer(gradient_clip_val=0.5)
    with pytest.raises(UsageError, match=r"set model\.gradient_clip to 0\.5"):
        trainer.fit(make_search(), datamodule=search_data)
    assert trainer.global_step == 0


def test_a_clip_of_zero_is_none(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Any
) -> None:
    """As in Lightning."""
    found = []
    for clip in (0.0, None):
        module = make_search(gradient_clip=clip, arch_gradient_clip=clip)
        trainer = make_trainer(gradient_clip_val=clip, limit_train_batches=1, limit_val_batches=0)
        trainer.fit(module, datamodule=search_data)
        found.append(torch.cat([value.detach().flatten() for value in module.parameters()]))
    assert torch.equal(*found)
