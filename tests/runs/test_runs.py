"""Runs and the files that they write."""

import csv
import hashlib
import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

from nas_lightning.architecture import Genotype
from tests.cli.conftest import Nas

# fixtures copy a run from another folder
pytestmark = pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning")


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return state


def epochs(path: Path) -> list[int]:
    with path.open(encoding="utf-8") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file) if row["epoch"]]


def test_search_then_a_second_fit_is_refused_and_changes_nothing(nas: Nas, searched: Path) -> None:
    folder = searched
    names = set(hashes(folder))
    assert {"config.yaml", "genotype.json", "checkpoints/last.ckpt", "csv/fit/metrics.csv"} <= names
    before = hashes(folder)
    result = nas("fit --config search.yaml --trainer.max_epochs 2")
    assert result.code == 2
    assert "runs/search already holds a run" in result.err
    assert "--ckpt_path last" in result.err
    assert "--run_dir" in result.err
    # a checkpoint of another run does not allow it either
    shutil.copytree(searched, "runs/other")
    other = "fit --config search --ckpt_path runs/other/checkpoints/last.ckpt"
    assert nas(other).code == 2
    assert nas("fit --config search --trainer.fast_dev_run true").code == 0
    assert hashes(folder) == before


def test_evaluation_does_not_change_the_run_and_predictions_are_complete(
    nas: Nas, retrained: Path
) -> None:
    folder = retrained
    assert {"best.ckpt", "last.ckpt"} == {path.name for path in folder.glob("checkpoints/*")}
    before = hashes(folder)
    saved = "--config runs/retrain/config.yaml"
    for verb in ("validate", "test", "predict"):
        result = nas(f"{verb} {saved}")
        assert result.code == 0, result.err
    after = hashes(folder)
    assert {name: after[name] for name in before} == before
    new = set(after) - set(before)
    assert {"csv/validate/metrics.csv", "csv/test/metrics.csv", "predictions.csv"} <= new
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(range(20))
    assert list(rows[0])[:2] == ["index", "class"]
    assert {int(row["class"]) for row in rows} <= {0, 1, 2, 3}


def test_resuming_appends(nas: Nas, searched: Path) -> None:
    folder = searched
    first = (folder / "csv/fit/metrics.csv").read_bytes()
    result = nas("fit --config search --ckpt_path last --trainer.max_epochs 2")
    assert result.code == 0, result.err
    assert "epoch 2/2" in result.out
    assert "epoch 1/" not in result.out
    assert (folder / "csv/fit/metrics.csv").read_bytes() == first
    assert set(epochs(folder / "csv/fit-2/metrics.csv")) == {1}
    assert yaml.safe_load((folder / "config.yaml").read_text("utf-8"))["trainer"]["max_epochs"] == 2


def test_checkpoint_of_another_kind_or_space(nas: Nas, searched: Path, retrained: Path) -> None:
    retrain = "fit --config retrain --model.genotype genotype.json"
    search, retraining = (run_dir / "checkpoints/last.ckpt" for run_dir in (searched, retrained))
    for line, fragments in {
        f"fit --config search --run_dir runs/a --ckpt_path {retraining}": ("retrain", "search"),
        f"{retrain} --run_dir runs/b --ckpt_path {search}": ("search", "retrain"),
        f"fit --config search --run_dir runs/c --model.supernet.nodes 3 --ckpt_path {search}": (
            "another network",
            "config.yaml",
        ),
        f"test --config search --ckpt_path {retraining}": ("retrain", "search"),
        f"derive {retraining}": ("retrain", "search"),
    }.items():
        result = nas(line)
        assert result.code == 1, result.err
        assert all(fragment in result.err for fragment in fragments), result.err
        assert len(result.err.splitlines()) == 1


def test_derive(nas: Nas, searched: Path) -> None:
    result = nas("derive runs/search/checkpoints/last.ckpt -o new/genotype.json")
    assert result.code == 0
    derived = Genotype.load("new/genotype.json")
    assert derived == Genotype.load("runs/search/genotype.json")
    printed = nas("derive runs/search/checkpoints/last.ckpt").out
    assert Genotype.from_dict(json.loads(printed)) == derived


def test_fast_dev_run_writes_nothing(nas: Nas, work: Path) -> None:
    before = hashes(work)
    assert nas("fit --config search --trainer.fast_dev_run true").code == 0
    assert hashes(work) == before
    assert not Path("runs").exists()


def test_several_configurations_merge_and_the_later_one_wins(nas: Nas) -> None:
    Path("short.yaml").write_text("trainer: {max_epochs: 7}\nrun_dir: elsewhere\n", "utf-8")
    result = nas("fit --config search --config short --data.batch_size 4 --print_config")
    assert result.code == 0
    printed = yaml.safe_load(result.out)
    assert printed["trainer"]["max_epochs"] == 7
    assert printed["trainer"]["accelerator"] == "cpu"
    assert printed["run_dir"] == "elsewhere"
    assert printed["data"]["init_args"]["batch_size"] == 4
    assert not Path("elsewhere").exists()


def test_printed_and_saved_configurations_run_again(nas: Nas) -> None:
    printed = nas("fit --config search --print_config")
    Path("printed.yaml").write_text(printed.out, encoding="utf-8")
    assert nas("fit --config printed.yaml --run_dir runs/a").code == 0
    assert nas("fit --config runs/a/config.yaml --run_dir runs/b").code == 0
    a, b = (yaml.safe_load(Path(f"runs/{n}/config.yaml").read_text("utf-8")) for n in "ab")
    assert a.pop("run_dir") == "runs/a"
    assert b.pop("run_dir") == "runs/b"
    assert str(a).replace("runs/a", "runs/b") == str(b)
    first, second = (weights(Path(f"runs/{name}/checkpoints/last.ckpt")) for name in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_file_in_the_current_folder_precedes_a_shipped_one(nas: Nas) -> None:
    Path("digits_idarts.yaml").write_text(Path("search.yaml").read_text("utf-8"), "utf-8")
    here = nas("fit --config digits_idarts --print_config").out
    assert yaml.safe_load(here)["data"]["class_path"].endswith("Synthetic")
    Path("digits_idarts.yaml").unlink()
    shipped = nas("fit --config digits_idarts --print_config").out
    assert yaml.safe_load(shipped)["data"]["class_path"].endswith("Digits")


def test_without_validation_the_last_checkpoint_is_kept(nas: Nas) -> None:
    line = "fit --config retrain --model.genotype DARTS_V2 --data.val_fraction 0"
    result = nas(f"{line} --checkpoint.monitor null")
    assert result.code == 0
    assert result.err == ""
    assert Path("runs/retrain/checkpoints/last.ckpt").is_file()


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_python_m(monkeypatch: pytest.MonkeyPatch, argument: str) -> None:
    monkeypatch.setattr(sys, "argv", ["nas_lightning", argument])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("nas_lightning", run_name="__main__")
    assert stop.value.code == 0


def test_threads_are_set_and_the_run_is_described(nas: Nas) -> None:
    before = torch.get_num_threads()
    try:
        result = nas("fit --config search --trainer.fast_dev_run true --threads 2")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert result.code == 0
    assert "run directory" in result.out
    assert "edge relaxation" in result.out
