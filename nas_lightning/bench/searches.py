"""Whole searches from Python, with as many epochs as there is time for."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning
from lightning import LightningDataModule, Trainer
from torch.optim import SGD, Adam

from nas_lightning.architecture import Genotype
from nas_lightning.callbacks.speed import Speed
from nas_lightning.search import SearchModule
from nas_lightning.spaces import DartsSupernet, NasBench201Supernet
from nas_lightning.strategies import (
    Backtracking,
    EdgeNormalization,
    ExponentiatedGradient,
    PartialChannels,
    WarmUp,
)
from nas_lightning.training.schedules import CosineSchedule

EPOCHS = 50
"""Epochs of a full IDARTS search."""
GAEA_EPOCHS, GAEA_BATCHES = 5, 60
NO_NONE = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        genotype: The cells.
        epochs: Number of epochs of the search.
        seconds: Time of the search, with data loading.
        accuracy: Accuracy of the supernet in the last epoch on the weight half, 0 to 1.
    """

    genotype: Genotype
    epochs: int
    seconds: float
    accuracy: float


def idarts(
    data: LightningDataModule,
    epochs: int = EPOCHS,
    supernet: Callable[[], DartsSupernet] = DartsSupernet,
    **trainer: Any,
) -> Found:
    """Search as the configuration `cifar_idarts` does.

    Warm-up and the first epoch of backtracking scale with the number of epochs.

    Args:
        data: CIFAR-10, or data of the same shape.
        epochs: Number of epochs.
        supernet: Makes the factory of the supernet.
        trainer: Arguments of the trainer.
    """
    warm_up, start = 15 * epochs // EPOCHS, 25 * epochs // EPOCHS
    lightning.seed_everything(0, verbose=False)
    module = SearchModule(
        data.data_spec,  # type: ignore[attr-defined] # every data module of this package has it
        supernet(),
        strategies=[
            *([WarmUp(warm_up)] if warm_up else []),
            PartialChannels(4),
            EdgeNormalization(),
            Backtracking(start=start, rate=0.015, coefficient=2.4e-5, clip=0.1),
        ],
        weight_optimizer=functools.partial(SGD, lr=0.1, momentum=0.9, weight_decay=3e-4),
        weight_schedule=CosineSchedule(eta_min=0.0),
        arch_optimizer=functools.partial(Adam, lr=6e-4, betas=(0.5, 0.999), weight_decay=1e-3),
    )
    return _run(module, data, epochs, **trainer)


def gaea(data: LightningDataModule, seed: int, **trainer: Any) -> Found:
    """Search as the configuration `nb201_small_gaea` does: single level, 300 batches.

    Args:
        data: CIFAR-10 in single-level mode, or data of the same shape.
        seed: Seed of weights and α.
        trainer: Arguments of the trainer.
    """
    lightning.seed_everything(seed, verbose=False)
    module = SearchModule(
        data.data_spec,  # type: ignore[attr-defined] # every data module of this package has it
        NasBench201Supernet(channels=8, cells=1, primitives=NO_NONE),
        strategies=[ExponentiatedGradient(lr=1.0)],
        weight_optimizer=functools.partial(SGD, lr=0.1, momentum=0.9, weight_decay=3e-4),
        weight_schedule=CosineSchedule(eta_min=0.001),
    )
    return _run(module, data, GAEA_EPOCHS, **{"limit_train_batches": GAEA_BATCHES, **trainer})


def _run(module: SearchModule, data: LightningDataModule, epochs: int, **more: Any) -> Found:
    settings: dict[str, Any] = {
        "devices": 1,
        "max_epochs": epochs,
        "limit_val_batches": 0,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "callbacks": [Speed(tf32=True, graphs=True)],
    }
    began = time.perf_counter()
    trainer = Trainer(**{**settings, **more})
    trainer.fit(module, datamodule=data)
    seconds = time.perf_counter() - began
    accuracy = float(trainer.callback_metrics["search/train_accuracy"])
    return Found(module.genotype(), epochs, seconds, accuracy)
