from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from nas_lightning.callbacks import RunCheckpoint
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
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
    assert seen.epochs == [None, None, 0, 1]  # seen before the one of the epoch takes its place
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 3
    assert torch.load(tmp_path / "previous.ckpt", weights_only=True)["epoch"] == 2
    names = {path.name for path in tmp_path.iterdir()} - {"best.ckpt", "genotype.json"}
    assert names == {"last.ckpt", "previous.ckpt"}
    assert saving.last_model_path == str(tmp_path / "last.ckpt")


class Positions(Callback):
    """Keeps where the last checkpoint stands whenever a batch begins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[tuple[int, int]] = []

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if self.path.exists():
            at = torch.load(self.path, weights_only=True)["Synthetic"]
            self.found.append((at["epoch"], at["batch"]))


def test_the_last_checkpoint_is_also_written_within_an_epoch(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> None:
    seen = Positions(tmp_path / "last.ckpt")
    saving = RunCheckpoint(tmp_path, every_batches=2, save_top_k=0)
    trainer = make_trainer(max_epochs=2, callbacks=[seen, saving], enable_checkpointing=True)
    trainer.fit(make_search(), datamodule=search_data)  # four batches an epoch
    assert seen.found == [(0, 2), (1, 0), (1, 0), (1, 0), (1, 2)]


def test_every_checkpoint_is_written_beside_its_place(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replaced: list[str] = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        replaced.append(f"{self.name} -> {target.name}")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    saving = RunCheckpoint(tmp_path, filename="best", monitor="search/val_loss", save_top_k=1)
    trainer = make_trainer(callbacks=[saving], enable_checkpointing=True)
    trainer.fit(make_search(), datamodule=search_data)
    assert [line for line in replaced if "genotype" not in line] == [
        ".best.ckpt.part -> best.ckpt",
        ".last.ckpt.new.part -> last.ckpt.new",
        "last.ckpt.new -> last.ckpt",
    ]


def test_a_period_of_no_batches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="every_batches must be at least 1, found 0"):
        RunCheckpoint(tmp_path, every_batches=0)
