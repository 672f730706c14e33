"""An operation and a cell space from outside the package go from search to study."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas_lightning.architecture import Genotype
from nas_lightning.cli import main
from tests.methods import rest_long

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"
QUICK = (
    *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"),
    *("--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"),
)
SPACES = {
    "own_operation": ("digits_retrain", ("--model.network.channels", "4"), "se_conv_3x3"),
    "own_space": (str(EXAMPLES / "own_space_retrain.yaml"), (), "sep_conv_3x3"),
}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `PYTHONPATH=docs/examples`, in this process and in others."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    paths = (str(EXAMPLES), str(DOCS.parent), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


@pytest.mark.parametrize("name", SPACES)
def test_the_page_shows_the_examples(name: str) -> None:
    code = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert f"```python\n{code}```" in (DOCS / "own_space.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", rest_long(SPACES, keep=["own_operation"]))
def test_search_retrain_test_draw_info_and_study(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config, more, primitive = SPACES[name]
    search = ["fit", "--config", str(EXAMPLES / f"{name}.yaml"), "--run_dir", "search"]
    assert main([*search, *QUICK]) == 0
    found = Genotype.load("search/genotype.json")
    (cell, *_) = found.space.cells
    assert primitive in cell.primitives
    # put the operation into a cell: an epoch does not choose it
    data = json.loads(Path("search/genotype.json").read_text(encoding="utf-8"))
    data["cells"][cell.kind]["nodes"][0][0]["primitive"] = primitive
    Path("g.json").write_text(json.dumps(data), encoding="utf-8")
    retrain = ["fit", "--config", config, "--model.genotype", "g.json", "--run_dir", "retrain"]
    assert main([*retrain, *more, *QUICK]) == 0
    assert main(["test", "--config", "retrain/config.yaml"]) == 0
    assert main(["test", "--config", "search/config.yaml"]) == 0
    assert main(["info", "supernet", "--space", str(data["space"]["class_path"])]) == 0
    capsys.readouterr()
    # a process that has imported nothing: the file alone says what it needs
    run = [sys.executable, "-m", "nas_lightning"]
    subprocess.run([*run, "draw", "g.json", "-o", "g.svg"], check=True)
    assert primitive.replace("_", " ").replace("3x3", "3×3") in Path("g.svg").read_text("utf-8")
    assert main(["info", "g.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] > 0
    study = ["study", "--config", f"own={EXAMPLES / name}.yaml", "--retrain", config, "--dir", "s"]
    quick = [option.replace("--", "--all.", 1) for option in QUICK]
    options = ["--seeds", "1", "--random", "1", "--jobs", "1", *quick]
    assert main([*study, *options]) == 0
    assert "own" in Path("s/report.md").read_text(encoding="utf-8")


def test_without_its_module_a_genotype_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Genotype.load(
        Path(__file__).parents[1] / "data" / "version_1" / "genotypes" / "darts.json"
    ).to_dict()
    data["space"]["init_args"]["primitives"].append("operations_of_nobody.Conv")
    (tmp_path / "g.json").write_text(json.dumps(data), encoding="utf-8")
    assert main(["info", str(tmp_path / "g.json")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot import operations_of_nobody.Conv" in line
    assert "PYTHONPATH" in line
