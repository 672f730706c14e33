"""A resumed run sees exactly the batches that an uninterrupted one would have seen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from nas_lightning.data import Digits, HalvedData

pytestmark = [
    # about the machine, not about the code
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    # raised inside Lightning by a newer torch
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
]
Mode = Literal["search", "retrain"]


def mark(x: Tensor) -> int:
    """A number that tells batches, their order and their augmentation apart."""
    return hash(x.numpy().tobytes())


class Recorder(lightning.LightningModule):
    """Trains nothing, remembers the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.automatic_optimization = False
        self.seen: list[tuple[Any, ...]] = []

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        optimizer.step()
        parts = [batch["train"], batch["val"]] if isinstance(batch, dict) else [batch]
        assert all(len(x) == len(y) == 32 for x, y in parts)
        marks = [(mark(x), tuple(y.tolist())) for x, y in parts]
        self.seen.append((self.current_epoch, batch_idx, *marks))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("n", float(len(batch[0])), reduce_fx="sum", batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Save(Callback):
    """Saves in one hook of epoch 1; in `on_train_batch_*`, at one batch."""

    def __init__(self, path: Path, hook: str, batch: int) -> None:
        self.path, self.hook, self.batch = path, hook, batch

    def _save(self, trainer: lightning.Trainer, hook: str, batch: int) -> None:
        sanity = trainer.sanity_checking
        if not sanity and (trainer.current_epoch, hook, batch) == (1, self.hook, self.batch):
            trainer.save_checkpoint(self.path)

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        self._save(trainer, "on_train_batch_start", batch_idx)

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._save(trainer, "on_train_batch_end", batch_idx)

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self._save(trainer, "on_train_epoch_start", 0)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self._save(trainer, "on_train_epoch_end", 0)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        progress = trainer.fit_loop.epoch_loop.batch_progress.current
        self._save(trainer, "on_validation_end", progress.completed)


def digits(mode: Mode, workers: int) -> Digits:
    # most of the images in the test set, to be quick
    return Digits(
        test_fraction=0.7,
        batch_size=32,
        mode=mode,
        arch_fraction=0.4,
        num_workers=workers,
    )


def train(
    mode: Mode,
    workers: int = 0,
    ckpt: Path | None = None,
    saves: Sequence[Save] = (),
    data: HalvedData[Any] | None = None,
    **settings: Any,
) -> list[tuple[Any, ...]]:
    lightning.seed_everything(0, verbose=False)  # orders follow the seed of the process
    module = Recorder()
    trainer = lightning.Trainer(
        **{"max_epochs": 3, **settings},
        accelerator="cpu",
        devices=1,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(saves),
    )
    data = data or digits(mode, workers)
    trainer.fit(module, datamodule=data, ckpt_path=None if ckpt is None else str(ckpt))
    return module.seen


# 539 training images. Search: halves of 323 and 216 images, 10 batches. Retrain: 485 images,
# 15 batches.
BATCHES = {"search": 10, "retrain": 15}
# hook, its batch (-1: the last), batches of epoch 1 that are done then (-1: all)
PLACES = [
    ("on_train_batch_start", 6, 6),
    ("on_train_batch_end", 0, 1),
    ("on_train_batch_end", 6, 7),
    ("on_train_batch_end", -1, -1),
    ("on_validation_end", -1, -1),
    ("on_train_epoch_end", 0, -1),
]


def batch_of(mode: Mode, hook: str, batch: int) -> int:
    last = BATCHES[mode] - (hook != "on_validation_end")
    return last if batch == -1 else batch


@pytest.fixture(scope="module", params=[("search", 0), ("retrain", 0), ("search", 2)], ids=str)
def uninterrupted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Mode, int, Path, list[tuple[Any, ...]]]:
    """A whole run, and a checkpoint of every place."""
    mode, workers = request.param
    folder = tmp_path_factory.mktemp("checkpoints")
    saves = [Save(folder / f"{h}{b}.ckpt", h, batch_of(mode, h, b)) for h, b, _ in PLACES]
    whole = train(mode, workers, saves=saves)
    assert [m[:2] for m in whole] == [(e, i) for e in range(3) for i in range(BATCHES[mode])]
    assert len({m[2] for m in whole}) == len(whole)  # no batch twice
    return mode, workers, folder, whole


@pytest.mark.parametrize(("hook", "batch", "done"), PLACES)
def test_resume(
    hook: str,
    batch: int,
    done: int,
    uninterrupted: tuple[Mode, int, Path, list[tuple[Any, ...]]],
) -> None:
    mode, workers, folder, whole = uninterrupted
    path = folder / f"{hook}{batch}.ckpt"
    state = torch.load(path, weights_only=True)["Digits"]
    assert state == ({"epoch": 2, "batch": 0} if done == -1 else {"epoch": 1, "batch": done})
    resumed = train(mode, workers, ckpt=path)
    size = BATCHES[mode]
    assert resumed == whole[size + (size if done == -1 else done) :]


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_from_a_validation_in_the_middle(workers: int, tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    saves = [Save(path, "on_validation_end", 5)]
    whole = train("search", workers, saves=saves, val_check_interval=5)
    assert train("search", workers, ckpt=path, val_check_interval=5) == whole[10 + 5 :]


def test_resume_twice_in_one_epoch(tmp_path: Path) -> None:
    first, second = tmp_path / "1.ckpt", tmp_path / "2.ckpt"
    whole = train("search", saves=[Save(first, "on_train_batch_end", 4)])
    train("search", ckpt=first, saves=[Save(second, "on_train_batch_end", 7)])
    assert train("search", ckpt=second) == whole[10 + 8 :]


def test_resume_with_limited_batches(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    saves = [Save(path, "on_train_batch_end", 4)]
    whole = train("retrain", saves=saves, limit_train_batches=5)
    assert train("retrain", ckpt=path, limit_train_batches=5) == whole[10:]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_tested_checkpoint_does_not_move_a_later_training(workers: int, tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    whole = train("retrain", workers, saves=[Save(path, "on_train_batch_end", 6)])

    class Tested(Recorder):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            pass

    data = digits("retrain", workers)
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    trainer.test(Tested(), datamodule=data, ckpt_path=str(path), verbose=False)
    assert train("retrain", workers, data=data, max_epochs=1) == whole[:15]


def test_workers_do_not_change_the_batches() -> None:
    assert train("retrain", 0, max_epochs=2) == train("retrain", 2, max_epochs=2)
