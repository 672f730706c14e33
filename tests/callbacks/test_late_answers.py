"""A broken step that is known of late: nothing is made of it."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from nas_lightning.callbacks import RollBackOnNaN, RunCheckpoint
from nas_lightning.data import Synthetic
from nas_lightning.errors import DivergedError
from nas_lightning.retrain import RetrainModule
from nas_lightning.spaces import DartsNetwork
from nas_lightning.training.finite import FiniteSteps
from nas_lightning.training.stage import Stage
from tests.conftest import SPEC, SearchFactory, TrainerFactory
from tests.test_finite import Device


class Break(Callback):
    """Breaks the images of a batch, and counts the later calls."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.at = (epoch, batch)
        self.batches = 0
        self.validated: list[int] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.batches += 1
        if (trainer.current_epoch, batch_idx) == self.at:
            images = batch["train"][0] if isinstance(batch, dict) else batch[0]
            images.fill_(math.nan)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self.validated.append(trainer.current_epoch)


def stage(kind: str, make_search: SearchFactory) -> tuple[Stage, Synthetic]:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"in_channels": 3, "num_classes": 4, "image_size": 8, "test_size": 16}
    if kind == "search":
        return make_search([]), Synthetic(**sizes, train_size=96, batch_size=8)
    network = DartsNetwork(4, 3)
    module = RetrainModule(SPEC, "DARTS_V2", network, auxiliary_weight=0.0, drop_path=0.2)
    return module, Synthetic(**sizes, train_size=64, batch_size=8, mode="retrain")


def finite(path: Path) -> bool:
    state = torch.load(path, weights_only=True)["state_dict"]
    return all(bool(value.isfinite().all()) for value in state.values())


@pytest.mark.parametrize("every", [None, 1])
@pytest.mark.parametrize("batch", [0, 4])
@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_no_checkpoint_and_no_validation_sees_it(
    kind: str, batch: int, every: int | None, make_search: SearchFactory,
    make_trainer: TrainerFactory, tmp_path: Path,
) -> None:  # fmt: skip
    module, data = stage(kind, make_search)
    device, breaks = Device(), Break(1, batch)
    module.finite = FiniteSteps(device.send, lag=4)
    saver = RunCheckpoint(tmp_path / "ckpt", every_batches=every)
    trainer = make_trainer(
        max_epochs=3, callbacks=[breaks, saver], enable_checkpointing=True, limit_train_batches=5
    )
    with pytest.raises(DivergedError, match=f"epoch 2, batch {batch + 1} ") as caught:
        trainer.fit(module, datamodule=data)
    assert caught.value.taken
    assert "the step was already taken, but no checkpoint was written since" in str(caught.value)
    assert "the batch has values that are not finite" in str(caught.value)
    assert str(caught.value).endswith("find and mend these values in the data")
    files = list((tmp_path / "ckpt").glob("*.ckpt"))
    assert files
    assert all(finite(path) for path in files)
    assert breaks.validated == [0]
    # a checkpoint after every batch leaves no step unknown; without, up to `lag` checks follow
    checks = 2 if kind == "search" else 1
    later = min(4 - batch, 0 if every else -(-4 // checks))
    assert breaks.batches == 5 + batch + 1 + later


def test_who_rolls_back_is_told_at_once(
    make_search: SearchFactory, make_trainer: TrainerFactory, tmp_path: Path
) -> None:
    module, data = stage("search", make_search)
    device = Device()
    module.finite = FiniteSteps(device.send)
    roll = RollBackOnNaN()
    saver = RunCheckpoint(tmp_path / "ckpt")
    make_trainer(max_epochs=2, callbacks=[Break(1, 1), roll, saver], enable_checkpointing=True).fit(
        module, datamodule=data
    )
    assert roll.count == 1
    assert device.sent == 0
    assert all(bool(p.isfinite().all()) for p in module.parameters())


def test_a_late_answer_changes_no_sound_run(
    make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    ends = []
    for send in (None, Device().send):
        module, data = stage("search", make_search)
        module.finite = FiniteSteps(send)
        make_trainer(max_epochs=2).fit(module, datamodule=data)
        ends.append(module.state_dict())
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
