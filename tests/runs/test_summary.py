"""`nas info RUN_DIR`."""

import csv
import json
from pathlib import Path

import pytest

from nas_lightning.runs.fingerprint import config_hash
from nas_lightning.runs.preview import PlanCLI
from tests.cli.conftest import LONG, Nas


def test_a_run_is_summarized(nas: Nas, whole: Path) -> None:
    shown = nas("info whole")
    assert shown.code == 0, shown.err
    lines = dict(line.split(maxsplit=1) for line in shown.out.splitlines() if line)
    assert lines["run"].startswith("search, seed 0, configuration ")
    assert lines["outcome"] == "finished"
    assert not [name for name in lines if name.startswith("alpha")]
    run = json.loads(nas("info whole --json").out)
    assert len(run["starts"]) == 1
    # the last value of each metric logged by epoch, read directly from the file
    with (whole / "csv/fit/metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["epoch"]]
    assert {row["epoch"] for row in rows} == {"0", "1", "2"}
    for name in ("search/val_loss", "search/val_accuracy"):
        logged = [float(row[name]) for row in rows if row[name]]
        assert len(logged) == 3
        assert len(set(logged)) > 1 or name != "search/val_loss"
        assert run["metrics"][name] == logged[-1]
        assert float(lines[name]) == pytest.approx(logged[-1], rel=1e-5)


def test_a_folder_without_a_run_is_refused(nas: Nas) -> None:
    result = nas("info .")
    assert result.code == 2
    assert "holds no run: there is no run.json" in result.err


def test_the_hash_of_a_configuration_ignores_the_run_directory(nas: Nas, searched: Path) -> None:
    recorded = json.loads(nas(f"info {searched} --json").out)["config_hash"]
    hashes = [
        config_hash(PlanCLI(["fit", "--config", "search", *line.split()]).plain_config())
        for line in ("", "--run_dir b", "--run_dir c --data.batch_size 4")
    ]
    assert recorded == hashes[0] == hashes[1] != hashes[2]


def test_values_of_an_earlier_epoch_name_it(nas: Nas, work: Path) -> None:
    assert nas(f"{LONG} --trainer.check_val_every_n_epoch 2 --run_dir second").code == 0
    shown = nas("info second").out.splitlines()
    lines = {line.split()[0]: line for line in shown if line}
    assert lines["search/val_accuracy"].endswith("  (epoch 2)")
    assert "(epoch" not in lines["search/train_loss_epoch"]
    (start,) = [line for line in shown if line.endswith("  finished") and "the start" in line]
    assert "epoch 3 " in start
    found = json.loads(nas("info second --json").out)
    assert found["metric_epochs"]["search/val_accuracy"] == 1  # as in metrics.csv
    assert found["starts"][0]["to"] == {"epoch": 3, "batch": 0}
