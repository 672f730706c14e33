import inspect
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from nas_lightning.callbacks import RunCheckpoint
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.tasks import Classification, LanguageModeling, Reconstruction
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
        {"monitor": "search/val_accuracy"},
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
    saving = RunCheckpoint(tmp_path, **watched)
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
    saving = RunCheckpoint(tmp_path, monitor="search/val_loss")
    trainer = make_trainer(callbacks=[saving], enable_checkpointing=True)
    trainer.fit(make_search(), datamodule=search_data)
    assert [line for line in replaced if "genotype" not in line] == [
        ".best.ckpt.part -> best.ckpt",
        ".last.ckpt.new.part -> last.ckpt.new",
        "last.ckpt.new -> last.ckpt",
    ]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"every_batches": 0}, "every_batches must be at least 1, found 0"),
    ({"save_top_k": 3, "monitor": "search/val_loss"}, "checkpoint.save_top_k 3: leave it out"),
    ({"save_top_k": -1}, "checkpoint.save_top_k -1: leave it out; there is one best.ckpt"),
    ({"filename": "{epoch}"}, r"filename \{epoch\}: leave it out; the best is always best.ckpt"),
    ({"save_on_exception": True}, "save_on_exception true: leave it out"),
    ({"every_n_train_steps": 5}, "every_n_train_steps 5: .* set checkpoint.every_batches"),
    ({"train_time_interval": timedelta(1)}, "train_time_interval .* set checkpoint.every_batches"),
    ({"every_n_epochs": 2}, "every_n_epochs 2: leave it out; every epoch is compared"),
    ({"every_n_epochs": 0}, "every_n_epochs 0"),
    ({"save_on_train_epoch_end": False}, "save_on_train_epoch_end false"),
    ({"enable_version_counter": True}, "enable_version_counter true"),
    ({"monitor": ""}, "checkpoint.monitor is empty"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_what_would_put_another_checkpoint_under_a_name_is_refused(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        RunCheckpoint(tmp_path, **settings)


def test_every_argument_of_lightning_is_known() -> None:
    """A new one might again put another checkpoint under a name."""
    theirs = set(inspect.signature(ModelCheckpoint).parameters)
    assert theirs <= set(inspect.signature(RunCheckpoint).parameters)


class Scripted(Callback):
    """Replaces a metric by a value of its own in each epoch; `None` leaves it out."""

    def __init__(self, name: str, values: list[float | None]) -> None:
        self.name = name
        self.values = values

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        value = self.values[trainer.current_epoch]
        if value is None:
            trainer._logger_connector._callback_metrics.pop(self.name, None)
        else:
            trainer._logger_connector._callback_metrics[self.name] = torch.tensor(value)


LOSSES = [2.0, 1.0, 3.0, 0.5, 0.7]
NONE_OF_TWO = [None, None, 3.0, 2.0, 2.5]
NAN = float("nan")


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
@pytest.mark.parametrize(
    ("metric", "values", "settings", "best"),
    [
        ("search/val_loss", LOSSES, {"save_last": True}, 3),
        ("search/val_accuracy", LOSSES, {"mode": "max", "save_last": "link"}, 2),
        ("search/skips_normal", NONE_OF_TWO, {"mode": "min", "save_top_k": 1}, 3),
        ("search/val_loss", [NAN, 2.0, NAN, 1.5, NAN], {"auto_insert_metric_name": False}, 3),
    ],
)
def test_the_best_epoch_is_kept_also_over_a_stop_and_a_move(
    metric: str,
    values: list[float | None],
    settings: dict[str, Any],
    best: int,
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> None:
    """The expected epoch is the smallest or largest of the list."""
    folder = tmp_path / "a"
    for epochs in range(1, 6):  # a start for each epoch
        last = folder / "last.ckpt"
        resumes: dict[str, Any] = {"ckpt_path": last, "weights_only": True} if last.exists() else {}
        saving = RunCheckpoint(folder, monitor=metric, **settings)
        trainer = make_trainer(
            max_epochs=epochs,
            limit_train_batches=1,
            limit_val_batches=1,
            num_sanity_val_steps=0,
            callbacks=[Scripted(metric, values), saving],
            enable_checkpointing=True,
        )
        trainer.fit(make_search(), datamodule=search_data, **resumes)
        assert torch.load(last, weights_only=True)["epoch"] == epochs - 1
        if epochs == 3:
            folder = folder.rename(tmp_path / "moved")
    assert torch.load(folder / "best.ckpt", weights_only=True)["epoch"] == best
    assert saving.best_model_score == values[best]
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}


@pytest.mark.parametrize(
    ("metric", "mode", "message"),
    [
        ("search/val_loss", "max", "search/val_loss is better when it is lower: set it to min"),
        ("search/train_loss_epoch", "max", "set it to min"),
        ("search/val_accuracy", "min", "checkpoint.mode is min, .* higher: set it to max"),
        ("search/skips_normal", None, "nothing says when .* is better: set checkpoint.mode"),
    ],
)
def test_a_mode_that_contradicts_its_metric_is_refused(
    metric: str, mode: Literal["min", "max"] | None, message: str, make_search: SearchFactory
) -> None:
    with pytest.raises(UsageError, match=message):
        RunCheckpoint(monitor=metric, mode=mode).resolve(make_search())


def test_directions_of_the_metrics_of_all_tasks() -> None:
    spec = {"num_classes": 10, "peak": 1.0, "dims": 2, "image_size": 32}
    tasks = (Classification(), LanguageModeling(), Reconstruction())
    found = {
        name: metric.higher_is_better
        for task in tasks
        for name, metric in task.metrics(spec).items()
    }
    better = {"accuracy": True, "top5_accuracy": True, "psnr": True, "ssim": True}
    assert found == {**better, "perplexity": False}
