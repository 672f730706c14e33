"""Runs of two processes that have no counterpart on one."""

from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from nas_lightning.architecture import random_genotype
from nas_lightning.callbacks import RollBackOnNaN
from nas_lightning.data import Synthetic
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule
from nas_lightning.spaces import DartsNetwork, get_space
from tests.conftest import SPEC, quiet_trainer
from tests.ddp.cases import Trace, share, small_search


class Poison(Callback):
    """Breaks a weight of the second process at the start of the second epoch."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1 and trainer.global_rank == 1:
            with torch.no_grad():
                assert isinstance(pl_module, SearchModule)
                next(iter(pl_module.supernet.parameters())).fill_(torch.nan)


def roll_back(folder: Path) -> Any:
    """A search of which one process breaks.

    Returns:
        The parameters after each batch, and how often the run went back.
    """
    module, data = small_search()
    share(data, 2)
    rule, trace = RollBackOnNaN(), Trace()
    trainer = quiet_trainer(
        devices=2,
        strategy="ddp",
        max_epochs=2,
        limit_val_batches=0,
        limit_train_batches=1,
        enable_checkpointing=True,
        callbacks=[Poison(), rule, trace, ModelCheckpoint(folder)],
    )
    trainer.fit(module, datamodule=data)
    return trace.steps, rule.count


def uneven_validation(folder: Path) -> Any:
    """A retraining with running statistics whose first process has a validation batch more.

    Returns:
        Batches of this process, and the metrics.
    """
    genotype = random_genotype(get_space("darts"), seed=0).to_dict()
    module = RetrainModule(SPEC, genotype, DartsNetwork(channels=4, layers=3), auxiliary_weight=0)
    data = Synthetic(
        in_channels=3,
        num_classes=4,
        image_size=8,
        train_size=18,
        test_size=4,
        batch_size=4,
        mode="retrain",
        val_fraction=0.5,
    )
    trainer = quiet_trainer(devices=2, strategy="ddp", num_sanity_val_steps=0)
    trainer.fit(module, datamodule=data)
    return trainer.num_val_batches, trainer.callback_metrics
