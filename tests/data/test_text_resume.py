"""Texts in runs that are stopped and resumed."""

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Callback

from nas_lightning.data import SyntheticText, TokenData
from nas_lightning.errors import UsageError
from tests.data.test_text_data import Mode


class Recorder(lightning.LightningModule):
    """Trains nothing, remembers the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.automatic_optimization = False
        self.seen: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        optimizer.step()
        parts = [batch["train"], batch["val"]] if isinstance(batch, dict) else [batch]
        self.seen.append((self.current_epoch, batch_idx, [x.tolist() for x, _ in parts]))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Save(Callback):
    """Saves after a batch of epoch 1, or at the end of that epoch."""

    def __init__(self, path: Path, batch: int | None) -> None:
        self.path, self.batch = path, batch

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (1, self.batch):
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        if (trainer.current_epoch, self.batch) == (1, None):
            trainer.save_checkpoint(self.path)


def text(mode: Mode) -> TokenData:
    return SyntheticText(
        mode=mode, batch_size=4, train_size=403, valid_size=303, bptt=12, bptt_jitter=3.0
    )


@pytest.mark.parametrize("batch", [0, 5, 7, None])
@pytest.mark.parametrize("mode", ["search", "retrain"])
def test_a_resumed_run_sees_the_same_batches(
    mode: Mode, batch: int | None, make_trainer: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x.ckpt"
    whole, resumed = Recorder(), Recorder()
    make_trainer(max_epochs=3, callbacks=[Save(path, batch)]).fit(whole, datamodule=text(mode))
    assert [s[:2] for s in whole.seen] == [(e, i) for e in range(3) for i in range(8)]
    assert whole.seen[0][2] != whole.seen[8][2] != whole.seen[16][2]  # other lengths
    make_trainer(max_epochs=3).fit(resumed, datamodule=text(mode), ckpt_path=path)
    done = 16 if batch in (7, None) else 8 + batch + 1
    assert resumed.seen == whole.seen[done:]


def test_a_tested_checkpoint_does_not_move_a_later_training(
    make_trainer: Any, tmp_path: Path
) -> None:
    class Tested(Recorder):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            pass

    path = tmp_path / "x.ckpt"
    whole, later = Recorder(), Recorder()
    trainer = make_trainer(max_epochs=2, callbacks=[Save(path, 3)])
    trainer.fit(whole, datamodule=text("retrain"))
    data = text("retrain")
    make_trainer().test(Tested(), datamodule=data, ckpt_path=path, verbose=False)
    make_trainer().fit(later, datamodule=data)
    assert later.seen == whole.seen[:8]


def test_a_trainer_that_replaces_samplers_is_refused(make_trainer: Any) -> None:
    with pytest.raises(UsageError, match="overfit_batches"):
        make_trainer(overfit_batches=2).fit(Recorder(), datamodule=text("retrain"))
