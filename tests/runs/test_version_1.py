"""Run directories and genotypes of nas-lightning 0.1.0 still load, resume and test."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from nas_lightning.architecture import Genotype
from nas_lightning.cli import main
from nas_lightning.runs.fingerprint import changes, config_hash
from nas_lightning.search import SearchModule
from nas_lightning.spaces import PUBLISHED, default_network, family_of
from nas_lightning.studies.plan import digest

DATA = Path(__file__).parents[1] / "data" / "version_1"
EXPECTED = json.loads((DATA / "expected.json").read_text(encoding="utf-8"))
CPU = ("--trainer.accelerator", "cpu")
pytestmark = [
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:the checkpoint is of an earlier release"),
]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the run directories to where their configurations expect them."""
    shutil.copytree(DATA, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def fitted(run: str, weights: str) -> dict[str, torch.Tensor]:
    """Resume for a third epoch, at the rate that the old release used in it: the cosine's end."""
    end = (f"--model.{weights}schedule=ConstantSchedule", f"--model.{weights}optimizer.lr=0")
    arguments = ["--config", f"runs/{run}/config.yaml", "--run_dir", f"runs/{run}"]
    more = ("--trainer.max_epochs", "3", "--ckpt_path", "last", "--pictures", "false")
    assert main(["fit", *arguments, *CPU, *more, *end]) == 0
    path = f"runs/{run}/checkpoints/last.ckpt"
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return state


def test_a_search_resumes_with_the_recorded_numbers(runs: Path) -> None:
    state = fitted("search", "weight_")
    for name, values in EXPECTED["search"].items():
        torch.testing.assert_close(state[name], torch.tensor(values), rtol=1e-3, atol=1e-5)
    written = json.loads((runs / "search" / "genotype.json").read_text(encoding="utf-8"))
    assert written["version"] == 2


def test_a_retraining_resumes_with_the_recorded_numbers(runs: Path) -> None:
    state = fitted("retrain", "")
    for name, values in EXPECTED["retrain"].items():
        found = state[name].flatten()[: len(values)]
        torch.testing.assert_close(found, torch.tensor(values), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("run", "metric"), [("search", "one_shot/test_accuracy"), ("retrain", "retrain/test_accuracy")]
)
def test_a_tested_run_has_the_recorded_accuracy(run: str, metric: str, runs: Path) -> None:
    arguments = ["test", "--config", f"runs/{run}/config.yaml", "--run_dir", f"runs/{run}", *CPU]
    with pytest.warns(UserWarning, match="recorded no class names"):
        assert main(arguments) == 0
    with (runs / run / "csv" / "test" / "metrics.csv").open(encoding="utf-8") as file:
        row = list(csv.DictReader(file))[-1]
    assert float(row[metric]) == pytest.approx(EXPECTED["test"][metric], abs=2e-3)


def test_a_genotype_is_derived_from_a_checkpoint(runs: Path) -> None:
    checkpoint = runs / "search" / "checkpoints" / "last.ckpt"
    assert main(["derive", str(checkpoint), "-o", "derived.json"]) == 0
    assert Genotype.load("derived.json") == Genotype.load(runs / "search" / "genotype.json")
    module = SearchModule.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True)
    assert module.space.cells[0].primitives[-1] == "sep_conv_3x3"


@pytest.mark.parametrize("path", sorted((DATA / "genotypes").iterdir()), ids=lambda p: p.stem)
def test_genotype_files_load_draw_and_build(path: Path, tmp_path: Path) -> None:
    genotype = Genotype.load(path)
    before = json.loads(path.read_text(encoding="utf-8"))
    assert before["version"] == 1
    assert genotype.space.name == before["space"]
    again = genotype.to_dict()
    assert again["cells"] == before["cells"]
    assert Genotype.from_dict(again) == genotype
    family = family_of(genotype.space)
    assert isinstance(default_network(genotype.space), family.network)
    assert main(["draw", str(path), "-o", str(tmp_path / "cells.svg")]) == 0
    assert main(["info", str(path)]) == 0


def test_import_paths_that_moved_change_no_fingerprint(runs: Path) -> None:
    """Otherwise no study of the release before could be resumed, and runs would list changes."""
    for run in ("search", "retrain"):
        text = (runs / run / "config.yaml").read_text(encoding="utf-8")
        before = yaml.safe_load(text)
        now = yaml.safe_load(
            text.replace("nas_lightning.supernet.", "nas_lightning.spaces.")
            .replace("nas_lightning.retrain.Darts", "nas_lightning.spaces.Darts")
            .replace("nas_lightning.schedules.", "nas_lightning.training.schedules.")
        )
        assert before != now
        assert changes(before, now) == []
        assert config_hash(before) == config_hash(now)


def test_names_of_cells_in_studies_stay() -> None:
    """Folders of retrainings are named by them."""
    assert digest(PUBLISHED["DARTS_V2"]) == "4f5fdc52540c"
    assert digest(Genotype.load(DATA / "genotypes" / "individual.json")) == "757bc76a14c8"
