"""What a search takes back when it rolls back: its strategies too, in the present epoch."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from nas_lightning.callbacks import RollBackOnNaN
from nas_lightning.search import ArchStep, SearchModule, SearchStrategy
from nas_lightning.strategies import EdgeNormalization, RobustDARTS, TwoStage
from nas_lightning.training.recovery import sound_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:.*exists and is not empty.*")


class Counts(SearchStrategy):
    """Counts architecture steps, and keeps the number in checkpoints."""

    def __init__(self) -> None:
        self.steps = 0

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps = state_dict["steps"]


class Break(Callback):
    """Breaks the images of one batch, and keeps the module as it is before the next."""

    def __init__(self, epoch: int, batch: int, half: str = "train") -> None:
        self.place, self.half = (epoch, batch), half
        self.seen: dict[str, Any] = {}
        self.waiting = False

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.waiting:
            self.waiting = False
            self.seen = {k: v.clone() for k, v in pl_module.state_dict().items()}
            self.seen["steps"] = [s.steps for s in pl_module.strategies if isinstance(s, Counts)]
            self.seen["learned"] = [p.requires_grad for p in pl_module.arch.alpha.values()]
        if (trainer.current_epoch, batch_idx) == self.place:
            self.waiting = True
            batch[self.half][0].fill_(math.nan)


def fit(make_trainer: Any, module: Any, data: Any, folder: Path, broken: Break) -> Any:
    saver = ModelCheckpoint(folder, filename="best", save_last=True, save_on_train_epoch_end=True)
    trainer = make_trainer(
        callbacks=[broken, RollBackOnNaN(), saver], max_epochs=3, enable_checkpointing=True
    )
    trainer.fit(module, datamodule=data)
    return trainer


def test_a_strategys_state(
    make_search: Any, make_trainer: Any, search_data: Any, tmp_path: Path
) -> None:
    # four steps an epoch; the sixth is the last before the break
    counts, broken = Counts(), Break(1, 2)
    fit(make_trainer, make_search([counts]), search_data, tmp_path, broken)
    assert broken.seen["steps"] == [4]
    assert counts.steps == 4 + 1 + 4


def test_a_stage_is_that_of_the_present_epoch(
    make_search: Any, make_trainer: Any, search_data: Any, tmp_path: Path
) -> None:
    # the only checkpoint is of the first stage; the second has just begun
    module, broken = make_search([EdgeNormalization(), TwoStage(edge_epochs=1)]), Break(1, 0)
    fit(make_trainer, module, search_data, tmp_path, broken)
    kept = [value for name, value in broken.seen.items() if ".kept_" in name]
    assert kept
    assert all(bool(rows.any()) for rows in kept)
    assert broken.seen["learned"] == [True, True]


def test_no_curvature_is_taken_of_a_broken_step(
    make_search: Any, make_trainer: Any, search_data: Any, tmp_path: Path
) -> None:
    # the eigenvalue is due in the last batch, whose outer loss is not finite
    robust = RobustDARTS(every=1, window=1, back=1, first_epoch=0)
    broken = Break(1, 3, half="val")
    fit(make_trainer, make_search([robust]), search_data, tmp_path, broken)
    values = robust.state_dict()["eigenvalues"]
    assert len(values) == 2  # of epochs 0 and 2
    assert all(math.isfinite(value) for value in values)


def test_a_damaged_last_checkpoint_is_passed_over(
    make_search: Any, make_trainer: Any, search_data: Any, tmp_path: Path
) -> None:
    previous: dict[str, torch.Tensor] = {}

    class Damage(Break):
        """Leaves a torn `last.ckpt` and a sound `previous.ckpt`."""

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                last = tmp_path / "last.ckpt"
                (tmp_path / "previous.ckpt").write_bytes(last.read_bytes())
                previous.update(torch.load(last, weights_only=True)["state_dict"])
                for file in (last, tmp_path / "best.ckpt"):
                    file.write_bytes(file.read_bytes()[:1000])

    broken = Damage(1, 1)
    trainer = fit(make_trainer, make_search(), search_data, tmp_path, broken)
    assert all(torch.equal(broken.seen[name], value) for name, value in previous.items())
    found = sound_checkpoint(trainer)
    assert found is not None
    assert found[0].endswith("last.ckpt")  # written anew since
