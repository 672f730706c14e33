"""The tasks in runs: a resumed run has the metrics of an uninterrupted one, bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule
from nas_lightning.spaces import DartsSupernet
from nas_lightning.tasks import Classification, Task
from tests.conftest import TrainerFactory
from tests.tasks.pairs import SPEC, TASKS, Pairs, retraining


class Save(Callback):
    """Write a checkpoint after the third batch of the second epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.current_epoch == 1 and trainer.fit_loop.batch_idx == 2:
            trainer.save_checkpoint(self.path)


class Epochs(Callback):
    """Keep the metrics of each epoch."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found = trainer.callback_metrics.items()
        self.rows.append({name: float(x) for name, x in found if not name.endswith("_step")})


@pytest.mark.parametrize("kind", TASKS)
def test_a_run_resumed_within_an_epoch_repeats_its_metrics(
    kind: str, make_trainer: TrainerFactory, tmp_path: Path
) -> None:
    def run(*more: Callback, **settings: Any) -> list[dict[str, float]]:
        data = Pairs(kind, count=40, batch_size=4, mode="retrain", val_fraction=0.5, seed=0)
        epochs = Epochs()
        module = retraining(kind, drop_path=0.1, auxiliary_weight=0.0)
        trainer = make_trainer(max_epochs=3, callbacks=[epochs, *more])
        trainer.fit(module, datamodule=data, weights_only=True, **settings)
        return epochs.rows

    whole = run(Save(tmp_path / "a.ckpt"))
    resumed = run(ckpt_path=tmp_path / "a.ckpt")
    assert len(whole) == 3
    assert resumed == whole[1:]
    losses = [row["retrain/train_loss_epoch"] for row in whole]
    assert losses[2] < losses[0]


@pytest.mark.parametrize("kind", TASKS)
def test_a_search_learns_and_tests_the_task(kind: str, make_trainer: TrainerFactory) -> None:
    task = TASKS[kind]()
    head: Any = "dense" if kind == "segmentation" else "classification"
    supernet = DartsSupernet(8, 3, nodes=2, primitives=("none", "skip_connect", "sep_conv_3x3"),
                             head=head)  # fmt: skip
    torch.manual_seed(0)
    module = SearchModule(SPEC, supernet, task)
    data = Pairs(kind, count=32, batch_size=8, seed=0)
    trainer = make_trainer(max_epochs=2)
    trainer.fit(module, datamodule=data)
    for stream in ("train", "arch", "val"):
        for name in task.directions:
            assert f"search/{stream}_{name}" in trainer.callback_metrics
    (found,) = trainer.test(module, datamodule=data, verbose=False)
    assert all(torch.isfinite(torch.tensor(found[f"one_shot/test_{x}"])) for x in task.directions)


@pytest.mark.parametrize(
    ("kind", "task", "message"),
    [
        ("segmentation", Classification(), "it needs outputs for each image"),
        ("regression", TASKS["segmentation"](), "set head to dense"),
    ],
)
def test_a_head_that_does_not_fit_is_explained(kind: str, task: Task, message: str) -> None:
    module = retraining(kind, task)
    masks = torch.zeros(2, 8, 8).long()
    batch = (torch.randn(2, 3, 8, 8), masks[:, 0, 0] if kind == "segmentation" else masks)
    with pytest.raises(UsageError, match=message):
        task.loss(module(batch[0]), batch)
