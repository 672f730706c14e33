"""Tables of true accuracies: made-up ones, and the real one where NAS_TEST_DATA names a folder."""

import csv
import os
import re
from pathlib import Path

import pytest

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput
from nas_lightning.errors import DataError, GenotypeError, NASError, UsageError
from nas_lightning.spaces import NasBench201Space, load_genotype
from nas_lightning.spaces.nas_bench_201 import from_string
from nas_lightning.studies.ground_truth import GroundTruth


def uniform(primitive: str) -> str:
    """A cell with one operation on all edges."""
    p = primitive
    return f"|{p}~0|+|{p}~0|{p}~1|+|{p}~0|{p}~1|{p}~2|"


TABLE = f"""\
arch,other,cifar10_test
{uniform("none")},1,10
{uniform("skip_connect")},2,80.5
{uniform("nor_conv_1x1")},3,90
{uniform("nor_conv_3x3")},4,94
{uniform("avg_pool_3x3")},5,80.5
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_where_a_cell_stands(table: Path) -> None:
    truth = GroundTruth.load(table)
    assert len(truth) == 5
    assert truth.best == pytest.approx(0.94)
    assert truth.mean == pytest.approx(0.71)
    best = truth.standing(from_string(uniform("nor_conv_3x3")))
    assert best.accuracy == pytest.approx(0.94)
    assert (best.rank, best.of) == (1, 5)
    assert (best.percentile, best.regret) == (100, 0)
    worst = truth.standing(from_string(uniform("none")))
    assert (worst.rank, worst.percentile) == (5, 0)
    assert worst.regret == pytest.approx(0.84)
    for name in ("skip_connect", "avg_pool_3x3"):  # a tie: both third, one of four others worse
        tied = truth.standing(from_string(uniform(name)))
        assert (tied.rank, tied.percentile) == (3, 25)
        assert tied.regret == pytest.approx(0.135)


def test_another_column(table: Path) -> None:
    truth = GroundTruth.load(table, "other")
    assert truth.accuracy(from_string(uniform("none"))) == pytest.approx(0.01)
    with pytest.raises(UsageError, match=re.escape("it has other, cifar10_test")):
        GroundTruth.load(table, "imagenet")


def test_a_missing_edge_is_none(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rest = "|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
    path.write_text(f"arch,cifar10_test\n{rest},12.5\n", encoding="utf-8")
    cell = CellGenotype(((), (), (NodeInput("skip_connect", 2),)), (3,), inputs=1)
    truth = GroundTruth.load(path)
    assert truth.accuracy(Genotype(NasBench201Space(), {"cell": cell})) == 0.125


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it has no column 'arch'"),
        ("cell,cifar10_test\n", "it has no column 'arch'"),
        ("arch,cifar10_test\n", "holds no cell"),
        ("arch,cifar10_test\n|x~0|,50\n", "line 2: the architecture string is not valid"),
        (f"{TABLE}{uniform('none')},1,10\n", "line 7: the cell .* occurs a second time"),
        (f"arch,cifar10_test\n\n{uniform('none')},high\n", "line 3: .* found 'high'"),
        (f"arch,cifar10_test\n{uniform('none')},101\n", "line 2: .* found '101'"),
        (f"arch,cifar10_test\n{uniform('none')},nan\n", "line 2: .* found 'nan'"),
        (f"arch,cifar10_test\n{uniform('none')}\n", "line 2: .* found None"),
        (f"arch,cifar10_test\n{uniform('none')},\n", "line 2: .* found ''"),
    ],
)
def test_a_malformed_table_names_the_place(table: Path, content: str, message: str) -> None:
    table.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        GroundTruth.load(table)
    assert str(table) in str(caught.value)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*missing\.csv"):
        GroundTruth.load(tmp_path / "missing.csv")
    (tmp_path / "bytes.csv").write_bytes(b"arch,\xff\xfe\n")
    with pytest.raises(DataError, match="cannot read"):
        GroundTruth.load(tmp_path / "bytes.csv")


@pytest.mark.parametrize(
    "name",
    ["NATS-tss-v1_0-3ffb9-simple", "NATS-tss-v1_0-3ffb9.pickle.pbz2", "NAS-Bench-201-v1_1.pth"],
)
def test_pickles_are_refused_unread(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.mkdir() if name.endswith("simple") else path.write_bytes(b"cos\nsystem\n(S'exit'\ntR.")
    with pytest.raises(DataError, match="export them to a CSV file"):
        GroundTruth.load(path)


def test_cells_that_it_does_not_hold(table: Path) -> None:
    truth = GroundTruth.load(table)
    with pytest.raises(UsageError, match="does not hold the cell"):
        truth.accuracy(from_string(uniform("none").replace("none~2", "skip_connect~2")))
    with pytest.raises(UsageError, match="the cell of 'darts'"):
        truth.standing(load_genotype("DARTS_V2"))
    twice = CellGenotype(((NodeInput("none", 0), NodeInput("skip_connect", 0)), (), ()), (3,), 1)
    with pytest.raises(GenotypeError, match="two operations on one edge"):
        truth.accuracy(Genotype(NasBench201Space(), {"cell": twice}))
    assert issubclass(GenotypeError, NASError)


@pytest.mark.realdata
def test_the_real_table() -> None:
    file = Path(os.environ.get("NAS_TEST_DATA", "")) / "nasbench201/accuracy-200-epochs.csv"
    if "NAS_TEST_DATA" not in os.environ or not file.exists():
        pytest.skip("set NAS_TEST_DATA to a folder with nasbench201/accuracy-200-epochs.csv")
    truth = GroundTruth.load(file)
    assert len(truth) == 5**6
    with file.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    best = from_string(rows[6111]["arch"])
    assert truth.standing(best).rank == 1
    assert truth.best == pytest.approx(0.943733)  # published: 94.37 % on the test set
    assert (
        GroundTruth.load(file, "cifar100_test").standing(from_string(rows[9930]["arch"])).rank == 1
    )
    ordered = sorted((float(row["cifar10_test"]) for row in rows), reverse=True)
    for row in rows[::1500]:
        standing = truth.standing(from_string(row["arch"]))
        assert standing.rank == 1 + ordered.index(float(row["cifar10_test"]))
