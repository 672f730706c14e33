"""NAS-Bench-Macro: counts of its table, architecture strings, lookups, and the layers."""

import csv
import os
import random
from pathlib import Path

import pytest
import torch
from torch import nn

from nas_lightning.architecture import Genotype
from nas_lightning.architecture.cost import network_cost
from nas_lightning.errors import DataError, GenotypeError, UsageError
from nas_lightning.spaces import (
    ChoiceSupernet,
    NasBenchMacroNetwork,
    NasBenchMacroSpace,
    default_network,
    family_of,
    freeze,
    from_digits,
    from_string,
    load_genotype,
    to_digits,
)
from nas_lightning.studies.ground_truth import GroundTruth

CIFAR = {"in_channels": 3, "num_classes": 10, "image_size": 32}
PATH = "nas_lightning.spaces.nas_bench_macro.NasBenchMacroNetwork"
FILE = "ground-truth/nas_bench_macro.csv"
# parameters and multiply-adds of the table
KNOWN = {
    "00000000": (387_882, 7_713_280),
    "00000001": (791_594, 14_115_328),
    "00000002": (1_219_370, 20_910_592),
    "22222222": (2_932_586, 105_660_928),
}
TABLE = """\
arch,acc1,acc2,acc3,params
00000000,45,45.5,46,387882
01221022,90,91,92,1
22222222,93,93,93,2
"""


def counts(string: str) -> tuple[int, int]:
    genotype = from_digits(string)
    found = network_cost(default_network(genotype.space), genotype, CIFAR)
    return found.parameters, found.multiply_adds


@pytest.mark.parametrize("string", KNOWN)
def test_counts_are_those_of_the_table(string: str) -> None:
    assert counts(string) == KNOWN[string]


def whole_table() -> list[dict[str, str]]:
    file = Path(os.environ.get("NAS_TEST_DATA", "")) / FILE
    if "NAS_TEST_DATA" not in os.environ or not file.exists():
        pytest.skip(f"set NAS_TEST_DATA to a folder with {FILE}")
    with file.open(encoding="utf-8") as lines:
        return [*csv.DictReader(lines)]


@pytest.mark.realdata
def test_counts_of_random_networks_and_of_all_are_those_of_the_table() -> None:
    """Those of 50 networks; then of all 6,561, whose layers add up."""
    rows = {row["arch"]: (int(row["params"]), int(row["multiply_adds"])) for row in whole_table()}
    assert len(rows) == 3**8
    for string in random.Random(0).sample(sorted(rows), 50):
        assert counts(string) == rows[string]
    least = counts("0" * 8)
    more = {}  # of a candidate in a layer, over the identity
    for layer in range(8):
        for digit in "012":
            found = counts("0" * layer + digit + "0" * (7 - layer))
            more[layer, digit] = [a - b for a, b in zip(found, least, strict=True)]
    for string, expected in rows.items():
        parts = [more[place] for place in enumerate(string)]
        assert expected == tuple(sum(column) for column in zip(least, *parts, strict=True))


@pytest.mark.realdata
def test_the_whole_table_is_looked_up() -> None:
    rows = whole_table()
    truth = GroundTruth.load(Path(os.environ["NAS_TEST_DATA"]) / FILE)
    assert len(truth) == 6561
    means = {r["arch"]: sum(float(r[f"acc{n}"]) for n in (1, 2, 3)) / 300 for r in rows}
    best = max(means, key=lambda string: means[string])
    found = truth.standing(from_digits(best))
    assert found.accuracy == pytest.approx(means[best])
    assert (found.rank, found.regret) == (1, 0)


def test_strings_are_read_and_written(tmp_path: Path) -> None:
    genotype = load_genotype(" 01221022\n")
    assert isinstance(genotype.space, NasBenchMacroSpace)
    assert to_digits(genotype) == "01221022"
    assert family_of(genotype.space).describe(genotype) == {"string": "01221022"}
    genotype.save(tmp_path / "genotype.json")
    assert Genotype.load(tmp_path / "genotype.json") == genotype
    assert str(genotype).splitlines()[1].split() == ["layer_1", "mb3_3x3"]


@pytest.mark.parametrize("text", ["0122102", "012210220", "01221023", "", "०1221022"])
def test_other_strings_are_refused(text: str) -> None:
    with pytest.raises(GenotypeError, match="expected 8 digits from 0 to 2"):
        from_digits(text)
    with pytest.raises(UsageError):
        load_genotype(text or "nothing")


def test_only_its_own_genotypes_have_digits() -> None:
    with pytest.raises(GenotypeError, match="only NAS-Bench-Macro has strings of digits"):
        to_digits(load_genotype("PROXYLESS_GPU"))


def test_the_space_of_a_search_is_that_of_the_strings() -> None:
    space = ChoiceSupernet(PATH).space_of(CIFAR)
    assert isinstance(space, NasBenchMacroSpace)
    assert space.to_config() == from_digits("0" * 8).space.to_config()


def test_the_identity_of_a_layer_that_changes_the_shape_is_a_convolution() -> None:
    frozen = freeze(NasBenchMacroNetwork(3, 10, channels=4), from_digits("0" * 8))
    kinds = [type(layer) for layer in frozen.get_submodule("layers").children()]
    assert kinds == [nn.Identity if row in (1, 3, 4, 6, 7) else nn.Sequential for row in range(8)]
    assert frozen.get_submodule("layers")(torch.zeros(2, 4, 32, 32)).shape == (2, 32, 4, 4)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_the_accuracy_is_the_mean_of_three_columns_or_one(table: Path) -> None:
    truth = GroundTruth.load(table)
    assert truth.accuracy(from_digits("00000000")) == pytest.approx(0.455)
    standing = truth.standing(from_digits("01221022"))
    assert (standing.rank, standing.of) == (2, 3)
    assert standing.regret == pytest.approx(0.02)
    first = GroundTruth.load(table, "acc1")
    assert first.accuracy(from_digits("01221022")) == pytest.approx(0.9)
    cell = from_string("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    with pytest.raises(UsageError, match="is of the space 'nas_bench_macro', the cell of 'nas_b"):
        truth.accuracy(cell)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (TABLE.replace("01221022", "01221032"), DataError, "line 3.*expected 8 digits"),
        (TABLE.replace("01221022", "00000000"), DataError, "line 3.*a second time"),
        (TABLE.replace("91,", "191,"), DataError, "line 3: expected an accuracy of 0 to 100 %"),
        (TABLE.replace("acc3", "seed3"), UsageError, "has no column 'acc3'.*it has acc1, acc2"),
    ],
)
def test_malformed_tables(text: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=message):
        GroundTruth.load(path)
