"""A network of a user goes from search to exported files, as its page says."""

import importlib
import os
from pathlib import Path

import pytest
import torch

from nas_lightning import freeze
from nas_lightning.cli import main

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"
QUICK = (
    *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"),
    *("--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"),
)
CHOICES = ["early_0", "early_1", "early_2", "shrink", "late_0", "late_1", "late_2"]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As `PYTHONPATH=docs/examples`, in this process and in others."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    paths = (str(EXAMPLES), str(DOCS.parent), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.chdir(tmp_path)


def test_the_page_shows_the_network() -> None:
    code = (EXAMPLES / "own_network.py").read_text(encoding="utf-8")
    assert f"```python\n{code}```" in (DOCS / "own_network.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    config = str(EXAMPLES / "own_network.yaml")
    assert main(["fit", "--config", config, "--print_plan"]) == 0
    assert "choices                  7, of 8,192 networks" in capsys.readouterr().out
    assert main(["fit", "--config", config, "--run_dir", "search", *QUICK]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said if line.startswith(("early_", "late_", "shr"))] == (
        CHOICES
    )
    (line,) = (line for line in said if line.startswith("retrain it with"))
    assert "--model.drop_path 0 " in line
    assert "DARTS" not in line.upper().replace("DIGITS", "")
    assert main(["derive", "search", "-o", "g.json"]) == 0
    assert main(["draw", "g.json", "-o", "g.svg"]) == 0
    network = freeze(importlib.import_module("own_network").OwnNetwork(1, 10, width=16), "g.json")
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    retrain = ["fit", "--config", str(EXAMPLES / "own_network_retrain.yaml")]
    wide = ["--model.network", "ChoiceNetwork", "--model.network.arguments", "{width: 16}"]
    line_of = [*retrain, "--model.genotype", "search", *wide, "--run_dir", "retrain", *QUICK]
    assert main(line_of) == 0
    assert main(["test", "--config", "retrain/config.yaml"]) == 0
    assert main(["predict", "--config", "retrain/config.yaml"]) == 0


@pytest.mark.long
def test_a_study_ranks_random_networks(tmp_path: Path) -> None:
    config = f"own={EXAMPLES / 'own_network.yaml'}"
    retrain = ["--retrain", str(EXAMPLES / "own_network_retrain.yaml")]
    quick = [option.replace("--", "--all.", 1) for option in QUICK]
    options = ["--seeds", "1", "--random", "3", "--jobs", "1", "--dir", "s", *quick]
    assert main(["study", "--config", config, *retrain, *options]) == 0
    report = Path("s/report.md").read_text(encoding="utf-8")
    for picture in ("entropy_all_choices", "weights_0_all_choices", "edges_0_choices", "cell_0"):
        assert f"report/{picture}.svg" in report
    assert "Ranking of the random cells by supernets" in report


@pytest.mark.long
def test_the_driver_of_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    driver = importlib.import_module("own_network_methods")
    monkeypatch.setattr(driver, "METHODS", ("gdas",))
    driver.everything(list(QUICK))
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row[0] == "gdas"
    assert set(row[1:8]) <= {"k1", "k3", "k5", "skip", "conv", "pool"}
    network, exported, onnx = (float(value) for value in row[9:15:2])
    assert network == exported == onnx
    assert max(map(float, row[15:])) < 1e-4
