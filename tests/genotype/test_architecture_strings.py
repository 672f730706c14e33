"""Architecture strings of NAS-Bench-201."""

import csv
import os
from pathlib import Path

import pytest

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput, random_genotype
from nas_lightning.errors import GenotypeError
from nas_lightning.spaces import PUBLISHED, NasBench201Space, get_space, load_genotype
from nas_lightning.spaces.nas_bench_201 import from_string, to_string

LAST = "|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
BEST = f"|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+{LAST}"


def test_a_string_is_read_edge_by_edge() -> None:
    genotype = from_string(
        "|skip_connect~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|avg_pool_3x3~2|"
    )
    cell = genotype.cells["cell"]
    assert cell.nodes == (
        (NodeInput("skip_connect", 0),),
        (NodeInput("none", 0), NodeInput("nor_conv_1x1", 1)),
        (NodeInput("none", 0), NodeInput("none", 1), NodeInput("avg_pool_3x3", 2)),
    )
    assert (cell.concat, cell.inputs) == ((3,), 1)


def test_round_trip_directly_and_through_a_file(tmp_path: Path) -> None:
    for seed in range(20):
        drawn = random_genotype(get_space("nas_bench_201"), seed)
        assert from_string(to_string(drawn)) == drawn
    drawn.save(tmp_path / "genotype.json")
    assert to_string(load_genotype(tmp_path / "genotype.json")) == to_string(drawn)
    assert to_string(load_genotype(BEST)) == BEST


def test_missing_edges_are_none() -> None:
    cell = CellGenotype(((), (NodeInput("skip_connect", 1),), ()), (3,), inputs=1)
    text = to_string(Genotype(NasBench201Space(), {"cell": cell}))
    assert text == "|none~0|+|none~0|skip_connect~1|+|none~0|none~1|none~2|"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("|none~0|", r"at node 1: expected 3 nodes joined by \+, found 1"),
        (BEST + "+|none~0|none~1|none~2|none~3|", "expected 3 nodes"),
        (BEST.replace("|nor_conv_1x1~2|", "|"), r"at node 3: expected the sources \[0, 1, 2\]"),
        (BEST.replace("1x1~2", "1x1~3"), r"found \[0, 1, 3\]"),
        (BEST.replace("1x1", "9x9"), "at node 3: unknown operation 'nor_conv_9x9'; known: avg"),
        ("|nor_conv_3x3|+||+|", r"at node 1: expected \|operation~source\|"),
    ],
)
def test_malformed_strings_are_refused_with_the_node(text: str, message: str) -> None:
    with pytest.raises(GenotypeError, match=message):
        load_genotype(text)


def test_other_cells_have_no_string() -> None:
    with pytest.raises(GenotypeError, match="only 'nas_bench_201'"):
        to_string(PUBLISHED["DARTS_V2"])
    twice = CellGenotype(((NodeInput("none", 0), NodeInput("skip_connect", 0)),), (1,), inputs=1)
    with pytest.raises(GenotypeError, match="two operations on one edge"):
        to_string(Genotype(NasBench201Space(), {"cell": twice}))
    with pytest.raises(
        GenotypeError, match="expected a genotype of space 'darts', found 'nas_bench_201'"
    ):
        load_genotype(BEST, get_space("darts"))


@pytest.mark.realdata
def test_every_string_of_the_benchmark_can_be_read() -> None:
    file = Path(os.environ.get("NAS_TEST_DATA", "")) / "nasbench201/accuracy-200-epochs.csv"
    if not file.is_file():
        pytest.skip("set NAS_TEST_DATA to a folder with nasbench201/accuracy-200-epochs.csv")
    with file.open() as rows:
        strings = [row["arch"] for row in csv.DictReader(rows)]
    assert len({to_string(from_string(text)) for text in strings}) == 15_625
    assert all(to_string(from_string(text)) == text for text in strings)
