"""`nas lookup`: cells in a table, and a supernet's ranking of cells against the table."""

import contextlib
import itertools
import json
import shutil
from pathlib import Path

import pytest
import torch
from scipy import stats

from nas_lightning.architecture import Genotype
from nas_lightning.cli import main
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.runs.command import NASCLI, run
from nas_lightning.search import SearchModule
from nas_lightning.spaces import load_genotype
from nas_lightning.spaces.nas_bench_201 import from_string
from nas_lightning.studies.one_shot import one_shot_scores
from nas_lightning.supernet import Mixing
from tests.cli.conftest import Nas, run_once

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1")
CELLS = [
    f"|{a}~0|+|{b}~0|{a}~1|+|{c}~0|{b}~1|{a}~2|"
    for a, b, c in itertools.product(OPERATIONS, repeat=3)
]
SMALL = """\
seed_everything: 0
run_dir: runs/search
model:
  class_path: SearchModule
  init_args:
    supernet:
      class_path: NasBench201Supernet
      init_args: {channels: 4, cells: 1, primitives: [skip_connect, nor_conv_1x1]}
data:
  class_path: Synthetic
  init_args: {num_classes: 4, image_size: 8, train_size: 64, test_size: 20, batch_size: 8}
trainer: {accelerator: cpu, max_epochs: 1}
"""
DATA = {"num_classes": 4, "image_size": 8, "train_size": 64, "test_size": 20, "batch_size": 8}
SAMPLES = 20
MACRO = """\
arch,acc1,acc2,acc3
00000000,45,45.5,46
01221022,90,91,92
22222222,93,93,93
"""
# fixtures copy a run that was made in another folder
pytestmark = pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning")


@pytest.fixture
def table(work: Path) -> str:
    """27 cells, the first the worst."""
    rows = [f"{cell},{10 + 3 * i},{99 - i}" for i, cell in enumerate(CELLS)]
    Path("table.csv").write_text("\n".join(["arch,cifar10_test,other", *rows]), encoding="utf-8")
    return "--table table.csv"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a small search; not to be changed."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
    with contextlib.chdir(folder):
        assert main(["fit", "--config", "small.yaml"]) == 0
    return folder / "runs/search"


@pytest.fixture
def searched(small: Path, table: str) -> Path:
    """A copy of the search in `runs/search`, beside the table."""
    shutil.copytree(small, "runs/search")
    return Path("runs/search")


def test_cells_are_looked_up(nas: Nas, table: str) -> None:
    from_string(CELLS[26]).save("runs/a/genotype.json")
    result = nas(f"lookup --space nasbench201 {table} runs/a runs/a/genotype.json", CELLS[1])
    lines = [line.split() for line in result.out.splitlines()]
    assert result.code == 0, result.err
    # name, true %, rank, percentage of the others that are worse, regret, cell
    assert lines[1] == ["runs/a", "88.00", "1", "100.00", "0.00", CELLS[26]]
    assert lines[2] == ["runs/a/genotype.json", "88.00", "1", "100.00", "0.00", CELLS[26]]
    assert lines[3] == ["13.00", "26", "3.85", "75.00", CELLS[1]]
    figures = {" ".join(words[:-1]): words[-1] for words in lines[4:]}
    assert figures == {
        "mean": "63.00",
        "median": "88.00",
        "worst": "13.00",
        "best": "88.00",
        "mean of all 27": "49.00",
        # operations 1 and 2 of each three digits: 10 + 3 · (13.5 + 4.5 + 1.5)
        "mean of 8 without none": "68.50",
        "best of all": "88.00",
    }


def test_digits_of_another_benchmark_are_looked_up(nas: Nas, work: Path) -> None:
    Path("macro.csv").write_text(MACRO, encoding="utf-8")
    table = "macro.csv"
    found = json.loads(nas(f"lookup --table {table} --json 01221022").out)["looked_up"]
    (row,) = found["cells"]
    assert (row["cell"], row["rank"]) == ("01221022", 2)
    assert row["accuracy"] == pytest.approx(0.91)
    assert found["without_none"]["mean"] is None
    lines = nas(f"lookup --space nas_bench_macro --table {table} 22222222").out.splitlines()
    assert lines[1].split() == ["93.00", "1", "100.00", "0.00", "22222222"]
    assert not [line for line in lines if "without none" in line]
    wrong = nas(f"lookup --space nas_bench_201 --table {table} --column acc1 22222222")
    assert wrong.code != 0
    assert "macro.csv, line 2" in wrong.err


def test_json_and_another_column(nas: Nas, table: str) -> None:
    result = nas(f"lookup --space nas_bench_201 {table} --column other --json", CELLS[0])
    found = json.loads(result.out)
    (row,) = found["looked_up"]["cells"]
    assert row["cell"] == CELLS[0]
    assert (row["accuracy"], row["rank"], row["of"], row["regret"]) == (0.99, 1, 27, 0)
    assert found["ranking"] is None
    assert found["looked_up"]["all"]["best"] == 0.99


def test_a_supernet_ranks_cells(nas: Nas, searched: Path, table: str) -> None:
    before = sorted(searched.rglob("*"))
    found = json.loads(nas(f"lookup {table} --rank {searched} --cells 6 --json").out)["ranking"]
    assert sorted(searched.rglob("*")) == before
    rows = found["cells"]
    assert found["of"] == 8  # the supernet has no `none`
    assert len({row["cell"] for row in rows}) == 6
    assert all("none" not in row["cell"] for row in rows)
    for row in rows:
        assert row["one_shot"] == pytest.approx(accuracy(searched, row["cell"]))
        assert row["accuracy"] == pytest.approx((10 + 3 * CELLS.index(row["cell"])) / 100)
    pairs = [[row[key] for row in rows] for key in ("one_shot", "accuracy")]
    kendall = next(one for one in found["correlations"] if one["name"] == "Kendall τ-b")
    assert kendall["value"] == pytest.approx(stats.kendalltau(*pairs).statistic)
    assert kendall["n"] == 6


def test_a_checkpoint_all_cells_and_few_batches(nas: Nas, searched: Path, table: str) -> None:
    last = searched / "checkpoints" / "last.ckpt"
    line = f"lookup {table} --rank {last} --cells all --batches 1 --json"
    found = json.loads(nas(line).out)
    assert len(found["ranking"]["cells"]) == 8
    for row in found["ranking"]["cells"]:
        assert row["one_shot"] == pytest.approx(accuracy(searched, row["cell"], samples=8))
    text = nas(f"lookup {table} --rank {searched} --cells 3").out
    assert text.startswith("one-shot and true accuracy of 3 of 8 cells")
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["Pearson", "Spearman", "Kendall"]


def accuracy(run_dir: Path, cell: str, samples: int = SAMPLES) -> float:
    """One-shot accuracy by hand: all operations run, and all but one count as zero."""
    module = SearchModule.load_from_checkpoint(
        run_dir / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True
    )
    (space,) = module.space.cells
    chosen = [part.split("~")[0] for part in cell.replace("+", "").split("|") if part]
    weights = torch.tensor([[float(op == name) for name in space.primitives] for op in chosen])
    mixing = Mixing({"cell": weights}, {"cell": torch.ones(6)})
    data = Synthetic(**DATA)
    data.setup("test")
    right = seen = 0
    with torch.no_grad():
        for x, y in data.test_dataloader():
            if seen < samples:
                right += int((module.supernet.eval()(x, mixing).argmax(1) == y).sum())
                seen += len(y)
    return right / seen


@pytest.fixture
def tested(searched: Path) -> NASCLI:
    more = ["--trainer.logger", "false", "--verbose", "false"]
    return run(["test", "--config", str(searched / "config.yaml"), *more])


def test_scores_of_cells(tested: NASCLI, searched: Path) -> None:
    found = Genotype.load(searched / "genotype.json")
    own = float(tested.trainer.callback_metrics["one_shot/test_accuracy"])
    scores = one_shot_scores(tested, [found, from_string(CELLS[0]), found], "accuracy")
    assert scores == [pytest.approx(own), None, pytest.approx(own)]
    assert isinstance(tested.model, SearchModule)
    assert tested.model.candidate is None
    with pytest.raises(UsageError, match=r"no one-shot metric 'psnr'; it has .*accuracy"):
        one_shot_scores(tested, [found], "psnr")
    with pytest.raises(UsageError, match="in space 'nas_bench_201', a cell in 'darts'"):
        one_shot_scores(tested, [load_genotype("DARTS_V2")], "accuracy")
    assert tested.model.candidate is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lookup --table table.csv", "name a genotype to look up"),
        ("lookup DARTS_V2", "required: --table"),
        ("lookup --table other.csv DARTS_V2", "cannot read other.csv"),
        ("lookup --table table.csv DARTS_V2", "of the space 'nas_bench_201'"),
        ("lookup --table table.csv nothing.json", "no genotype 'nothing.json'"),
        ("lookup --table table.csv empty", "empty holds no genotype.json"),
        ("lookup --table table.csv --column x DARTS_V2", "it has cifar10_test, other"),
        ("lookup --table table.csv --space darts DARTS_V2", "expected .npz or .onnx"),
        ("lookup --table table.csv --table other.csv DARTS_V2", "belong to --space darts"),
        ("lookup --table table.csv --trained other.csv", "belong to --space darts"),
        ("lookup --table table.csv --rank empty", "empty holds no config.yaml"),
        ("lookup --table table.csv --rank a/b/last.ckpt", "a holds no config.yaml"),
        ("lookup --table table.csv --rank empty --cells 2", "at least 3 cells"),
        ("lookup --table table.csv --rank empty --cells few", "expected a whole number"),
    ],
)
def test_wrong_options_are_refused(nas: Nas, table: str, line: str, message: str) -> None:
    Path("empty").mkdir()
    result = nas(line)
    assert result.code in (1, 2)
    assert message in result.err
    assert result.err.count("\n") == 1
    assert result.out == ""


def test_the_old_name_of_the_verb_still_works(nas: Nas, table: str) -> None:
    old, new = (nas(f"{verb} {table} --json", CELLS[3]) for verb in ("benchmark", "lookup"))
    assert old.code == new.code == 0
    assert old.out == new.out
    assert old.err == "nas: `nas benchmark` is now called `nas lookup`\n"
    assert new.err == ""


def test_a_search_in_another_space_ranks_nothing(
    nas: Nas, table: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shutil.copytree(run_once(tmp_path_factory, "fit --config search") / "runs", "runs")
    result = nas(f"lookup {table} --rank runs/search")
    assert result.code == 2
    assert "the search is in space 'darts', a cell in 'nas_bench_201'" in result.err
