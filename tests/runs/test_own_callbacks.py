"""Progress bars and checkpoints as the settings of the trainer ask for."""

import json
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback
from lightning.pytorch.callbacks import (
    ModelCheckpoint,
    OnExceptionCheckpoint,
    RichProgressBar,
    TQDMProgressBar,
)

from nas_lightning.callbacks import RunCheckpoint, RunProgressBar
from nas_lightning.errors import UsageError
from nas_lightning.runs.own_callbacks import own_callbacks
from tests.cli.conftest import Nas

DEFAULTS: dict[str, Any] = {
    "callbacks": None,
    "barebones": False,
    "enable_progress_bar": None,
    "enable_checkpointing": None,
    "default_root_dir": "runs/a",
}


@pytest.mark.parametrize(
    ("settings", "saves", "bars"),
    [
        ({}, True, 1),
        ({"enable_progress_bar": True, "enable_checkpointing": True}, True, 1),
        ({"enable_progress_bar": False}, True, 0),
        ({"enable_checkpointing": False}, False, 1),
        ({"barebones": True}, False, 0),
        ({"callbacks": [RichProgressBar()]}, True, 0),
        ({"callbacks": TQDMProgressBar()}, True, 0),
        ({"callbacks": [ModelCheckpoint("elsewhere", save_last=True)]}, True, 1),
        ({"callbacks": [ModelCheckpoint(filename="{epoch}")]}, True, 1),
    ],
)
def test_ours_are_added_unless_switched_off(
    settings: dict[str, Any], saves: bool, bars: int
) -> None:
    found = own_callbacks({**DEFAULTS, **settings})
    assert found.saves == saves
    assert [type(callback) for callback in found.more] == [RunProgressBar] * bars


@pytest.mark.parametrize(
    ("callbacks", "settings", "message"),
    [
        ([RichProgressBar()], {"enable_progress_bar": False}, "enable_progress_bar false excludes"),
        ([RichProgressBar()], {"barebones": True}, "barebones true excludes RichProgressBar"),
        ([RichProgressBar(), TQDMProgressBar()], {}, "one progress bar"),
        ([ModelCheckpoint("x")], {"enable_checkpointing": False}, "excludes ModelCheckpoint"),
        ([OnExceptionCheckpoint("x")], {"barebones": True}, "excludes OnExceptionCheckpoint"),
        ([ModelCheckpoint(save_last=True)], {}, "set its dirpath to another folder"),
        ([ModelCheckpoint("runs/a/checkpoints", filename="best")], {}, "would write over"),
        ([RunCheckpoint()], {}, "every run has a RunCheckpoint"),
    ],
)
def test_callbacks_that_contradict_a_setting_are_refused(
    callbacks: list[Callback], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        own_callbacks({**DEFAULTS, **settings, "callbacks": callbacks})


@pytest.mark.parametrize(
    "options",
    ["--trainer.enable_checkpointing false --trainer.enable_progress_bar false",
     "--trainer.barebones true"],
)  # fmt: skip
def test_a_run_without_checkpoints_says_so(options: str, nas: Nas) -> None:
    result = nas(f"fit --config search {options}")
    assert result.code == 0, result.err
    assert result.err == ""
    assert "checkpoints              none" in result.out
    assert not Path("runs/search/checkpoints").exists()
    assert Path("runs/search/genotype.json").is_file()
    (start,) = json.loads(Path("runs/search/run.json").read_text())["starts"]
    assert start["outcome"] == "finished"
    stopped = nas(
        f"fit --config search --run_dir runs/b {options} "
        "--trainer.callbacks+=tests.callbacks.test_graceful_stop.Send "
        "--trainer.callbacks.epoch=0 --trainer.callbacks.batch=0"
    )
    assert stopped.code == 130
    assert "it kept no checkpoints, so it cannot be resumed" in stopped.err


def test_more_checkpoints_as_the_message_about_save_top_k_says(nas: Nas) -> None:
    line = "fit --config search --trainer.max_epochs 3 --trainer.limit_train_batches 1"
    refused = nas(f"{line} --checkpoint.monitor search/val_loss --checkpoint.save_top_k 2")
    assert refused.code == 2
    advised = "--trainer.callbacks+=ModelCheckpoint --trainer.callbacks.dirpath="
    assert advised in refused.err
    more = "--trainer.callbacks.monitor=search/val_loss --trainer.callbacks.save_top_k=2"
    assert nas(f"{line} {advised}more {more}").code == 0
    assert len(list(Path("more").iterdir())) == 2
