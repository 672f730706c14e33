"""Ctrl-C: wherever in an epoch it comes, the resumed run ends as the whole one does."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from nas_lightning.callbacks import GracefulStop, RunInterruptedError
from nas_lightning.cli import main


class CtrlC(Callback):
    """Sends SIGINT in a batch, as often as told."""

    def __init__(self, epoch: int, batch: int, times: int = 1) -> None:
        self.where, self.times = (epoch, batch), times

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == self.where:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def sigint() -> Iterator[None]:
    """Lightning leaves Ctrl-C ignored."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize(("where", "stops"), [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((0, 3), (1, 0))])
def test_resumed_run_ends_as_the_whole_one(
    where: tuple[int, int],
    stops: tuple[int, int],
    make_search: Any,
    make_trainer: Any,
    search_data: Any,
    tmp_path: Path,
) -> None:
    whole = make_search()
    make_trainer(max_epochs=2).fit(whole, datamodule=search_data)

    path = tmp_path / "last.ckpt"
    handler = signal.getsignal(signal.SIGINT)
    trainer = make_trainer(max_epochs=2, callbacks=[CtrlC(*where), GracefulStop(path)])
    with pytest.raises(RunInterruptedError, match=f"epoch {stops[0]} behind batch {stops[1]}"):
        trainer.fit(make_search(), datamodule=search_data)
    assert signal.getsignal(signal.SIGINT) is handler
    assert [item.name for item in tmp_path.iterdir()] == ["last.ckpt"]  # no temporary file

    resumed = make_search(seed=1)  # other weights until the checkpoint is loaded
    again = make_trainer(max_epochs=2)
    again.fit(resumed, datamodule=search_data, ckpt_path=path, weights_only=True)
    assert (again.current_epoch, again.global_step) == (2, 16)  # two optimizers, eight batches
    expected, found = whole.state_dict(), resumed.state_dict()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_ctrl_c_in_the_very_last_batch_lets_the_run_end(
    make_search: Any, make_trainer: Any, search_data: Any, tmp_path: Path
) -> None:
    trainer = make_trainer(callbacks=[CtrlC(0, 3), GracefulStop(tmp_path / "last.ckpt")])
    trainer.fit(make_search(), datamodule=search_data)
    assert trainer.current_epoch == 1


@pytest.mark.usefixtures("sigint")
def test_second_ctrl_c_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = (
        "fit --data Synthetic --data.mode retrain --data.batch_size 8 --model RetrainModule "
        "--model.genotype DARTS_V2 --model.network DartsNetwork --model.network.layers 3 "
        "--model.network.channels 4 --model.auxiliary_weight 0 "
        "--trainer.accelerator cpu --trainer.max_epochs 1 --trainer.enable_model_summary false"
    )
    callback = "class_path: tests.callbacks.test_graceful_stop.CtrlC"
    arguments = "init_args: {epoch: 0, batch: 1, times: 2}"
    code = main([*line.split(), "--trainer.callbacks", f"{{{callback}, {arguments}}}"])
    err = capsys.readouterr().err
    assert code == 130
    assert "nas: interrupted" in err
    assert "Traceback" not in err
    assert not Path("runs/default/checkpoints/last.ckpt").exists()
