"""`nas study --table`: a table of true accuracies instead of retrainings, up to the report."""

import itertools
import json
from pathlib import Path

import pytest

from nas_lightning.architecture import Genotype
from nas_lightning.studies.results import read_results
from tests.cli.conftest import Nas

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
STRING = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
CELLS = len(OPERATIONS) ** 6
SEARCH = """\
model:
  class_path: SearchModule
  init_args:
    supernet: {class_path: NasBench201Supernet, init_args: {channels: 4, cells: 1}}
data:
  class_path: Synthetic
  init_args: {num_classes: 4, image_size: 8, train_size: 32, test_size: 20, batch_size: 8}
trainer: {accelerator: cpu, max_epochs: 1, enable_model_summary: false}
"""
LINE = "study --config nb201.yaml --table table.csv --seeds 2 --random 3 --dir s --jobs 1"
pytestmark = pytest.mark.usefixtures("in_this_process")


def place(genotype: Genotype) -> int:
    """Return the place of a cell in the table, 0 for the worst: its operations as base-5 digits."""
    (cell,) = genotype.cells.values()
    ops = {
        (node, each.source): each.primitive for node, kept in enumerate(cell.nodes) for each in kept
    }
    digits = [ops.get((node, source), "none") for node in range(3) for source in range(node + 1)]
    return sum(OPERATIONS.index(op) * 5**power for power, op in enumerate(reversed(digits)))


@pytest.fixture
def work(work: Path) -> Path:
    """Also with a table in which every cell is a bit better than the one before."""
    (work / "nb201.yaml").write_text(SEARCH)
    cells = itertools.product(OPERATIONS, repeat=6)
    rows = [f"{STRING.format(*cell)},10.0,{100 * i / CELLS}" for i, cell in enumerate(cells)]
    (work / "table.csv").write_text("\n".join(["arch,cifar10_test,made_up", *rows]) + "\n")
    return work


def test_a_study_by_a_table(work: Path, nas: Nas) -> None:
    result = nas(f"{LINE} --column made_up")
    assert result.code == 0, result.out + result.err
    assert "2/2 runs done  0 failed" in result.out
    assert not (work / "s/retrains").exists()

    runs = read_results(work / "s").runs
    assert [(run.method, run.seed) for run in runs] == [
        *(("nb201", 0), ("nb201", 1)),
        *(("random", 0), ("random", 1), ("random", 2)),
    ]
    report = json.loads((work / "s/report.json").read_text("utf-8"))
    assert len(report["results"]) == len(runs)
    for run, said in zip(runs, report["results"], strict=True):
        assert run.genotype is not None
        true = place(run.genotype)
        assert said["state"] == "done"
        assert said["final"] == run.final == pytest.approx(true / CELLS)
        assert said["standing"]["rank"] == CELLS - true
        assert said["standing"]["percentile"] == pytest.approx(100 * true / (CELLS - 1))
        assert said["standing"]["regret"] == pytest.approx((CELLS - 1 - true) / CELLS)
    assert report["best"] == pytest.approx((CELLS - 1) / CELLS)
    for run in runs[:2]:
        assert run.genotype == Genotype.load(work / "s" / run.links[0] / "genotype.json")
        assert run.one_shot is not None
        assert set(run.scores) == {0, 1, 2}

    again = nas(f"{LINE} --column made_up")  # nothing is left to do
    assert again.code == 0
    assert json.loads((work / "s/report.json").read_text("utf-8")) == report
    other = nas(f"{LINE} --column cifar10_test")
    assert other.code == 2
    assert "differs in the table" in other.err


def test_a_table_without_the_column_is_refused_before_anything_runs(work: Path, nas: Nas) -> None:
    result = nas(f"{LINE} --column imagenet")
    assert result.code == 2
    assert "choose one by --column; it has cifar10_test, made_up" in result.err
    assert not (work / "s/searches").exists()
