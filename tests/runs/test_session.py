"""Runs from Python equal those of the command line, and leave the session as it was."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

import nas_lightning
from nas_lightning.architecture import Genotype
from nas_lightning.errors import GenotypeError, NASError, UsageError
from tests.cli.conftest import Nas

QUICK = {"data.train_size": 16, "data.batch_size": 4}


class Count(Callback):
    """Counts the batches, and may end the run."""

    def __init__(self, fails: bool = False) -> None:
        self.batches = 0
        self.fails = fails

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.batches += 1
        if self.fails:
            raise RuntimeError("ended by a callback")


def test_a_run_is_that_of_the_command_line(nas: Nas, searched: Path) -> None:
    """The same seed and settings: the same values, whichever way the settings are given."""
    run = nas_lightning.fit("search", {"run_dir": "a"}, quiet=True)
    assert run.directory == Path("a")
    shown = json.loads(nas(f"info {searched} --json").out)
    assert run.metrics == shown["metrics"]
    assert run.genotype == Genotype.load(searched / "genotype.json")
    assert run.record["config_hash"] == shown["config_hash"]
    again = nas_lightning.fit(Path("search.yaml"), ["--run_dir", "b"], quiet=True)
    assert again.read_metrics() == run.read_metrics()
    assert repr(again) == "Run('b')"
    assert os.fspath(again) == "b"


def test_a_search_and_a_retraining_in_one_session(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = Count()
    found = nas_lightning.fit(
        "search", {**QUICK, "run_dir": Path("s")}, callbacks=[count], quiet=True
    )
    assert count.batches == 2  # 8 samples of each half
    settings = {
        "run_dir": "r",
        "model.genotype": found.genotype,
        "trainer.max_epochs": 3,
        "trainer.callbacks": None,
        "model.optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.01}},
    }
    trained = nas_lightning.fit("retrain", settings, quiet=True)
    assert capsys.readouterr().out == ""
    assert trained.genotype == found.genotype
    config = (trained.directory / "config.yaml").read_text(encoding="utf-8")
    assert "lr: 0.01" in config
    # the epoch of best.ckpt, found independently
    rows = [row for row in trained.read_metrics() if "retrain/val_accuracy" in row]
    assert len(rows) == 3
    best = max(rows, key=lambda row: row["retrain/val_accuracy"])
    assert trained.best_metrics["retrain/val_accuracy"] == best["retrain/val_accuracy"]
    assert trained.best_metrics["retrain/val_loss"] == best["retrain/val_loss"]
    assert trained.metrics["retrain/val_loss"] == rows[-1]["retrain/val_loss"]
    assert 0 <= trained.test()["retrain/test_accuracy"] <= 1
    assert capsys.readouterr().out == ""
    assert nas_lightning.load(trained).genotype == found.genotype


def test_contents_are_configurations(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"trainer": {"max_epochs": 2}, "run_dir": "x"}
    run = nas_lightning.fit(["search", more, {}], QUICK)
    epochs = {row["epoch"] for row in run.read_metrics() if "epoch" in row}
    assert epochs == {0, 1}
    assert "run directory            x" in capsys.readouterr().out  # not quiet


def test_the_session_is_left_as_it_was(work: Path) -> None:
    threads, form = torch.get_num_threads(), warnings.formatwarning
    with warnings.catch_warnings():
        filters = list(warnings.filters)
        nas_lightning.fit("search", {**QUICK, "run_dir": "x", "threads": 2}, quiet=True)
        assert warnings.filters == filters
    assert torch.get_num_threads() == threads
    assert warnings.formatwarning is form


WRONG: list[tuple[Any, str]] = [
    ({"trainer.max_epoch": 3}, "--trainer.max_epoch"),
    ({"trainer.max_epochs": "many"}, "trainer.max_epochs"),
    ({"model.supernet.channels": 0}, "channels"),
    ({"model.supernet": object()}, "model.supernet: expected a number, a text"),
    ({"data": {"init_args": {"size": {1, 2}}}}, "data.init_args.size: expected a number"),
    ({"trainer.fast_dev_run": True}, "trainer.fast_dev_run keeps nothing"),
    (["--help"], "--help prints and ends a program"),
    (["--print_plan"], "--print_plan prints and ends a program"),
    (["--print_config=comments"], "--print_config=comments prints"),
    ("--trainer.max_epochs=3", "overrides must be a mapping"),
    ([3], "overrides must be a mapping"),
    (["stray"], "stray"),
]


@pytest.mark.parametrize(("overrides", "text"), WRONG, ids=lambda found: str(found)[:40])
def test_wrong_settings_are_usage_errors(
    overrides: Any, text: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        nas_lightning.fit("search", overrides, quiet=True)
    assert text in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert capsys.readouterr() == ("", "")
    assert not Path("runs").exists()


def test_other_errors(searched: Path) -> None:
    with pytest.raises(UsageError, match="already holds a run: resume it by --ckpt_path last"):
        nas_lightning.fit("search", quiet=True)
    with pytest.raises(UsageError, match="no configuration 'serch'"):
        nas_lightning.fit("serch", quiet=True)
    with pytest.raises(UsageError, match=r"holds no run: there is no run\.json"):
        nas_lightning.Run("nowhere")
    Path("g.json").write_text("{}")
    with pytest.raises(GenotypeError):
        nas_lightning.fit("retrain", {"model.genotype": Path("g.json")}, quiet=True)
    with pytest.raises(RuntimeError, match="ended by a callback"):
        nas_lightning.fit("search", {"run_dir": "x"}, callbacks=[Count(fails=True)], quiet=True)
    run = nas_lightning.Run("x")
    assert run.record["starts"][-1]["outcome"] == "failed"
    with pytest.raises(NASError, match=r"x holds no checkpoints/last\.ckpt"):
        run.test()


def test_resuming_goes_on(work: Path) -> None:
    nas_lightning.fit("search", {**QUICK, "run_dir": "x"}, quiet=True)
    more = {**QUICK, "run_dir": "x", "ckpt_path": "last", "trainer.max_epochs": 2}
    run = nas_lightning.fit("search", more, quiet=True)
    assert len(run.record["starts"]) == 2
    assert {row["epoch"] for row in run.read_metrics() if "epoch" in row} == {0, 1}
