"""`nas bench`."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Nas

QUICK = "bench --preset quick --accelerator cpu --repeat 1 --warm-up 0"


@pytest.mark.slow
def test_a_preset_a_file_and_a_comparison(nas: Nas) -> None:
    line = f"{QUICK} --steps weight data --json"
    result = nas(f"{line} old.json")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    words = [line.split()[:4] for line in lines[2:]]
    assert words == [
        ["setting", "step", "case", "batch"],
        ["quick", "weight", "idarts", "fast"],
        ["quick", "weight", "idarts", "reference"],
        ["quick", "weight", "idarts", "plain"],
        ["quick", "data", "data", "8"],
    ]
    content = json.loads(Path("old.json").read_text(encoding="utf-8"))
    assert content["command"] == ["nas", *line.split(), "old.json"]
    assert [row["images"] for row in content["rows"]] == [8] * 4
    again = nas(f"{QUICK} --steps weight --cells fast --threads 2 --compare old.json --markdown")
    assert again.out.startswith("| setting | step |")
    assert "warning: quick idarts fast weight: batch 8 on 1 threads before, 8 on 2 now" in again.out
    assert "new/old" in again.out


@pytest.mark.slow
def test_a_configuration_of_a_search(nas: Nas) -> None:
    line = "bench --config search.yaml --accelerator cpu --repeat 2 --warm-up 0 --json a.json"
    result = nas(f"{line} --batch 4")
    assert result.code == 0, result.err
    rows = json.loads(Path("a.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["step"], row["case"]) for row in rows] == [
        (step, cells)
        for step in ("search", "arch", "weight", "fit")
        for cells in ("fast", "reference")
    ]
    found = {(row["step"], row["case"]): row for row in rows}
    # one epoch, all of it warm-up, of 16 samples in batches of 4: weight steps alone
    row = found["search", "fast"]
    assert row["full_seconds"] == pytest.approx(4 * found["weight", "fast"]["median"])
    assert row["group"] == "search"
    assert row["images"] == 4
    assert not Path("runs").exists()


def test_methods_after_a_configuration(nas: Nas) -> None:
    line = "bench --config search.yaml --accelerator cpu --repeat 1 --warm-up 0 --steps arch"
    result = nas(f"{line} --methods darts gdas --cells fast --markdown")
    assert result.code == 0, result.err
    cases = [line.split(" | ")[2] for line in result.out.splitlines()[2:]]
    assert cases == ["darts fast", "gdas fast"]


def test_a_configuration_of_a_retraining(nas: Nas) -> None:
    line = "bench --config retrain.yaml --config genotype.yaml --accelerator cpu"
    Path("genotype.yaml").write_text("model: {init_args: {genotype: DARTS_V2}}", encoding="utf-8")
    result = nas(f"{line} --repeat 1 --warm-up 0 --markdown")
    assert result.code == 0, result.err
    assert [line.split(" | ")[1:3] for line in result.out.splitlines()[2:]] == [
        ["retrain", "retrain"]
    ]
    refused = nas(f"{line} --methods darts")
    assert (refused.code, refused.err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--preset nothing", "nothing"),
        ("--preset quick --config search.yaml", "not allowed with"),
        ("--preset quick --steps fly", "fly"),
        ("--preset quick --cells slow", "slow"),
        ("--preset quick --methods alchemy", "no method 'alchemy'; choose from darts"),
        ("--preset quick --repeat 0", "at least 1"),
        ("--preset quick --batch -3", "batch"),
        ("--preset quick --speed", "--speed"),
        ("--preset nas_bench_201 --cells plain", "no plain cells"),
        ("--preset quick --compile", "plain cells cannot be compiled"),
        ("--preset quick --graphs --accelerator cpu", "needs a CUDA GPU"),
        ("--preset quick --compare missing.json", "missing.json"),
        ("--config missing.yaml", "missing.yaml"),
        ("--config search.yaml --cells plain", "by --preset only"),
        ("--config search.yaml --methods alchemy", "alchemy"),
        ("--config search.yaml --steps retrain", "it has no step 'retrain'"),
    ],
)
def test_wrong_arguments_get_one_line(line: str, message: str, nas: Nas) -> None:
    result = nas(f"bench {line}")
    assert result.code in (1, 2)
    assert result.err.rstrip("\n").splitlines()[-1].startswith("nas: ")
    assert message in result.err.splitlines()[-1]
    assert "Traceback" not in result.err
    assert result.out == ""


def test_a_search_whose_cells_have_one_computation(nas: Nas) -> None:
    text = """
model:
  init_args:
    strategies: []
    supernet:
      class_path: ChoiceSupernet
      init_args: {network: tests.spaces.choice.networks.Chain}
"""
    Path("choices.yaml").write_text(text, encoding="utf-8")
    line = "bench --config search.yaml --config choices.yaml --accelerator cpu --repeat 1"
    result = nas(f"{line} --warm-up 0 --steps arch --markdown")
    assert result.code == 0, result.err
    assert [row.split(" | ")[2] for row in result.out.splitlines()[2:]] == ["search"]
    refused = nas(f"{line} --checkpoint-cells")
    assert refused.code == 2
    assert "computed in one way only: remove CheckpointCells" in refused.err
