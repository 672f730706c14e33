from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from nas_lightning.callbacks import RunCheckpoint
from nas_lightning.data import Synthetic
from tests.conftest import SearchFactory, TrainerFactory


class Seen(Callback):
    """Keeps the epoch of the last checkpoint that lies there when an epoch starts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.epochs: list[int | None] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found = torch.load(self.path, weights_only=True) if self.path.exists() else None
        self.epochs.append(None if found is None else found["epoch"])


@pytest.mark.parametrize(
    "watched",
    [
        {"save_top_k": 0},
        {"monitor": "search/val_loss", "mode": "max", "save_top_k": 1},  # best once: it falls
    ],
)
def test_the_last_checkpoint_is_that_of_the_last_epoch(
    watched: dict[str, Any],
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> None:
    seen = Seen(tmp_path / "last.ckpt")
    saving = RunCheckpoint(tmp_path, filename="best", enable_version_counter=False, **watched)
    trainer = make_trainer(
        max_epochs=4, limit_train_batches=2, callbacks=[seen, saving], enable_checkpointing=True
    )
    trainer.fit(make_search(), datamodule=search_data)
    assert seen.epochs == [None, 0, 1, 2]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 3
    assert not list(tmp_path.glob("*.tmp"))
    assert saving.last_model_path == str(tmp_path / "last.ckpt")
