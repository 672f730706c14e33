"""`run.json`: what it says of runs that end, stop, fail and are killed."""

import json
import time
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger

from nas_lightning.callbacks import GracefulStop, RunCheckpoint, RunInterruptedError
from nas_lightning.data import Synthetic
from nas_lightning.errors import NASError
from nas_lightning.runs.metrics import read_metrics
from nas_lightning.runs.record import RunRecord
from nas_lightning.runs.record_file import last_start, read_record
from tests.callbacks.test_graceful_stop import Send
from tests.conftest import SearchFactory, TrainerFactory


class Fail(Callback):
    """Fails in the second epoch."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.current_epoch == 1:
            raise OSError("the data\nis gone")


class Run:
    """Starts of one run in a folder."""

    def __init__(
        self, folder: Path, make_search: SearchFactory, make_trainer: TrainerFactory
    ) -> None:
        self.folder, self.make_search, self.make_trainer = folder, make_search, make_trainer
        self.starts = 0

    def start(self, *callbacks: Callback, resume: bool = False) -> dict[str, Any]:
        """Two epochs of four batches of eight."""
        data = Synthetic(
            in_channels=3, num_classes=4, image_size=8, train_size=64, test_size=16, batch_size=8
        )
        self.starts += 1
        last = self.folder / "last.ckpt"
        record = RunRecord(self.folder, "0123", last if resume else None, job="12")
        saving = RunCheckpoint(self.folder, save_top_k=0)
        trainer = self.make_trainer(
            max_epochs=2,
            callbacks=[record, *callbacks, saving],
            logger=CSVLogger(self.folder, name="csv", version=f"fit-{self.starts}"),
            enable_checkpointing=True,
            log_every_n_steps=1,
        )
        module = self.make_search()
        trainer.fit(module, datamodule=data, ckpt_path=last if resume else None, weights_only=True)
        return self.record()

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return found


@pytest.fixture
def run(tmp_path: Path, make_search: SearchFactory, make_trainer: TrainerFactory) -> Run:
    return Run(tmp_path, make_search, make_trainer)


def test_a_run_that_ends(run: Run) -> None:
    spent = time.process_time()
    record = run.start()
    spent = time.process_time() - spent
    assert record["kind"] == "search"
    assert record["seed"] == "0"
    assert record["config_hash"] == "0123"
    (start,) = record["starts"]
    assert start["outcome"] == "finished"
    assert start["from"] == {"epoch": 0, "batch": 0}
    assert start["to"] == {"epoch": 2, "batch": 0}
    assert start["samples"] == 2 * 4 * 8
    # the seconds in the record are rounded to a thousandth
    seconds = pytest.approx(64 / start["samples_per_second"], abs=1e-3)
    assert start["training_seconds"] == seconds
    assert 0 < start["training_seconds"] <= start["seconds"]
    assert 0 < start["cpu_seconds"] < spent + 0.1  # a run without workers
    assert start["peak_memory_mib"] > 100  # torch alone holds more
    assert start["began"] <= start["until"]
    assert (start["job"], start["checkpoint"], start["csv"]) == ("12", None, "fit-1")
    environment = start["environment"]
    assert environment["torch"] == torch.__version__
    assert environment["lightning"] == lightning.__version__
    assert (environment["device"], environment["processes"], environment["nodes"]) == ("cpu", 1, 1)


def test_a_run_that_stops_and_goes_on_has_the_metrics_of_a_whole_one(
    run: Run, tmp_path: Path, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    with pytest.raises(RunInterruptedError):
        run.start(Send(0, 1), GracefulStop())
    record = run.start(resume=True)
    first, second = record["starts"]
    assert (first["outcome"], second["outcome"]) == ("stopped", "finished")
    assert first["message"].startswith("stopped after epoch 1 of 2, batch 2: ")
    assert first["to"] == second["from"] == {"epoch": 0, "batch": 2}
    assert (first["first_step"], second["first_step"]) == (0, 2)
    assert second["checkpoint"] == str(run.folder / "last.ckpt")
    whole = Run(tmp_path / "whole", make_search, make_trainer)
    whole.start()
    rows = read_metrics(run.folder)
    assert rows == read_metrics(whole.folder)
    assert [row["step"] for row in rows if "search/train_loss_epoch" in row] == [3, 7]


def test_a_run_that_fails_and_one_that_was_killed(run: Run) -> None:
    with pytest.raises(OSError, match="is gone"):
        run.start(Fail())
    record = run.record()
    assert record["starts"][0]["outcome"] == "failed"
    assert record["starts"][0]["message"] == "the data is gone"
    record["starts"][0]["outcome"] = "running"  # what stays when nobody could say how it ended
    (run.folder / "run.json").write_text(json.dumps(record))
    record = run.start(resume=True)
    assert [start["outcome"] for start in record["starts"]] == ["killed", "finished"]


def test_a_resume_of_a_finished_run_records_nothing(run: Run) -> None:
    before, rows = run.start(), read_metrics(run.folder)
    assert run.start(resume=True) == before
    assert read_metrics(run.folder) == rows


def test_a_run_that_was_killed_after_its_last_checkpoint_is_recorded_as_finished(run: Run) -> None:
    before = run.start()
    before["starts"][0]["outcome"] = "running"
    (run.folder / "run.json").write_text(json.dumps(before))
    record = run.start(resume=True)
    assert [start["outcome"] for start in record["starts"]] == ["killed", "finished"]
    last = record["starts"][-1]
    assert last["to"] == {"epoch": 2, "batch": 0}
    assert last["samples"] == 0


def test_rows_after_the_checkpoint_of_a_resumed_run_are_dropped(
    tmp_path: Path,
) -> None:
    starts: list[dict[str, object]] = [
        {"csv": "a", "first_step": 0},
        {"csv": None},
        {"csv": "b", "first_step": 3},
    ]
    base = {"began": "", "outcome": "killed", "process": 1, "host": ""}
    record: dict[str, object] = {
        "format": "nas-lightning run",
        "version": 1,
        "kind": "search",
        "seed": None,
    }
    record |= {"config_hash": "", "starts": [{**base, **start} for start in starts]}
    (tmp_path / "run.json").write_text(json.dumps(record))
    for name, rows in (("a", "1,,0\n2,7,2\n3,,3\n4,,4\n"), ("b", "30,,3\n40,8,4\n")):
        (tmp_path / "csv" / name).mkdir(parents=True)
        (tmp_path / "csv" / name / "metrics.csv").write_text(f"loss,val,step\n{rows}")
    assert read_metrics(tmp_path) == [
        {"loss": 1, "step": 0},
        {"loss": 2, "val": 7, "step": 2},
        {"loss": 30, "step": 3},
        {"loss": 40, "val": 8, "step": 4},
    ]


def test_no_record_is_empty(tmp_path: Path) -> None:
    assert read_record(tmp_path) == last_start(tmp_path) == {}
    assert read_metrics(tmp_path) == []


@pytest.mark.parametrize("text", ["", "[1]", '{"format": "other"}', '{"for'])
def test_what_is_no_record_is_an_error(text: str, tmp_path: Path) -> None:
    """As if it were none, the earlier starts of a run would be lost without a word."""
    (tmp_path / "run.json").write_text(text)
    for read in (read_record, last_start, read_metrics):
        with pytest.raises(NASError, match=r"run\.json"):
            read(tmp_path)
