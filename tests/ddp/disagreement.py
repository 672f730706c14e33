"""Two processes of which one leaves the other, and what is left on the disk."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.callbacks import RanksAgree, RanksDisagreeError, RunCheckpoint
from nas_lightning.search import SearchModule
from tests.conftest import quiet_trainer
from tests.ddp.cases import share, small_search

ULP = 2**-23
"""The change, relative: of the last bit."""


class Nudge(Callback):
    """Changes the last bit of one number on the second process, in the second epoch."""

    def __init__(self, pick: Callable[[SearchModule], Tensor]) -> None:
        self.pick = pick

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        if trainer.current_epoch == 1 and trainer.global_rank == 1:
            assert isinstance(pl_module, SearchModule)
            value = self.pick(pl_module)
            with torch.no_grad():
                value[-1].mul_(1 + ULP)


def fit(folder: Path, *callbacks: Callback, epochs: int = 3, checkpoint: Path | None = None) -> str:
    """What so many epochs ended with, if not well."""
    module, data = small_search()
    share(data, 2)
    saving = RunCheckpoint(dirpath=folder, save_top_k=0, save_on_train_epoch_end=True)
    trainer = quiet_trainer(
        devices=2,
        strategy="ddp",
        max_epochs=epochs,
        limit_train_batches=1,
        limit_val_batches=0,
        enable_checkpointing=True,
        callbacks=[saving, RanksAgree(), *callbacks],
    )
    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except RanksDisagreeError as error:
        return str(error)
    return ""


def nudged(folder: Path, pick: Callable[[SearchModule], Tensor]) -> Any:
    """A run in which a number changes: what it said, and the epoch of its last checkpoint."""
    said = fit(folder, Nudge(pick))
    return said, torch.load(folder / "last.ckpt", weights_only=True)["epoch"]


def position(folder: Path) -> Any:
    """Processes that go on from different checkpoints; nothing is done."""
    fit(folder)
    rank = torch.distributed.get_rank()
    checkpoint = folder / ("last.ckpt", "previous.ckpt")[rank]
    return fit(folder / "again", epochs=4, checkpoint=checkpoint), None


JOBS: dict[str, Callable[[Path], Any]] = {
    "nothing": lambda folder: (fit(folder), None),
    "the architecture parameters": partial(nudged, pick=lambda m: m.arch.alpha["normal"][-1]),
    "the weights": partial(nudged, pick=lambda m: next(iter(m.supernet.parameters()))),
    "the number of steps": position,
}
