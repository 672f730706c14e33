import json
from pathlib import Path

import pytest
import torch

from nas_lightning.architecture import Genotype
from nas_lightning.errors import GenotypeError, UsageError
from nas_lightning.retrain import count_parameters
from nas_lightning.spaces import PUBLISHED, CellNetwork, load_genotype

Pairs = list[tuple[str, int]]


def flat(genotype: Genotype, kind: str) -> Pairs:
    """Return the released form, a list of (operation, predecessor)."""
    return [(i.primitive, i.source) for node in genotype.cells[kind].nodes for i in node]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_cell_is_valid_and_survives_json(name: str, tmp_path: Path) -> None:
    genotype = load_genotype(name)
    assert genotype == PUBLISHED[name]
    assert load_genotype(json.loads(json.dumps(genotype.to_dict()))) == genotype
    genotype.save(tmp_path / "g.json")
    assert load_genotype(tmp_path / "g.json") == genotype
    assert load_genotype(str(tmp_path / "g.json")).provenance == genotype.provenance


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_cells_use_every_state_that_is_not_in_the_output(name: str) -> None:
    for cell in PUBLISHED[name].cells.values():
        read = {i.source for node in cell.nodes for i in node}
        states = set(range(cell.inputs, cell.inputs + len(cell.nodes)))
        assert states - read <= set(cell.concat)
        assert all(len(node) == cell.inputs for node in cell.nodes)


SIZES: list[tuple[str, int, int, float | None]] = [
    ("PDARTS", 3_433_798, 4_944_352, None),
    ("CDARTS_CIFAR", 3_859_318, 5_493_856, None),
    ("CDARTS_IMAGENET", 4_669_534, 6_360_256, None),
    ("SGAS_CRI1_1", 3_750_238, 5_247_040, 3.75),
    ("SGAS_CRI1_2", 3_729_502, 5_230_144, 3.73),
    ("SGAS_CRI1_3", 3_795_166, 5_285_440, 3.80),
    ("SGAS_CRI1_4", 3_320_614, 4_747_360, 3.32),
    ("SGAS_CRI1_5", 3_449_782, 4_910_368, 3.45),
    ("SGAS_CRI1_6", 3_465_334, 4_897_216, 3.47),
    ("SGAS_CRI1_7", 3_830_374, 5_343_904, 3.83),
    ("SGAS_CRI1_8", 3_662_110, 5_195_680, 3.66),
    ("SGAS_CRI1_9", 3_975_094, 5_493_760, 3.98),
    ("SGAS_CRI1_10", 3_606_814, 5_143_456, 3.61),
    ("SGAS_CRI2_1", 4_143_574, 5_742_976, 4.14),
    ("SGAS_CRI2_2", 3_877_030, 5_361_472, 3.88),
    ("SGAS_CRI2_3", 4_094_110, 5_697_664, 4.09),
    ("SGAS_CRI2_4", 3_909_430, 5_438_464, 3.91),
    ("SGAS_CRI2_5", 3_687_166, 5_196_064, 3.69),
    ("SGAS_CRI2_6", 3_948_094, 5_501_536, 3.95),
    ("SGAS_CRI2_7", 3_690_190, 5_143_936, 3.69),
    ("SGAS_CRI2_8", 4_328_254, 5_856_928, 4.33),
    ("SGAS_CRI2_9", 3_734_686, 5_260_192, 3.73),
    ("SGAS_CRI2_10", 3_676_150, 5_159_104, 3.68),
]
"""Name; parameters on CIFAR-10 and on ImageNet; millions on CIFAR-10 in the authors' own list."""


@pytest.mark.parametrize(
    ("name", "cifar", "imagenet", "listed"),
    [
        pytest.param(*size, marks=[] if i < 4 or size[0] == "SGAS_CRI2_3" else pytest.mark.long)
        for i, size in enumerate(SIZES)
    ],
)
def test_parameters_of_the_cells_of_later_methods(
    name: str, cifar: int, imagenet: int, listed: float | None
) -> None:
    """36 channels and 20 cells, and 48 channels and 14 cells, without an auxiliary head."""
    with torch.device("meta"):
        small = count_parameters(CellNetwork(PUBLISHED[name], 3, 10, 32))
        large = count_parameters(CellNetwork(PUBLISHED[name], 3, 1000, 224, 48, 14, "imagenet"))
    assert (small, large) == (cifar, imagenet)
    assert listed is None or round(small / 1e6, 2) == listed


def test_all_cells_of_sgas_are_there_and_differ() -> None:
    names = [f"SGAS_CRI{criterion}_{run}" for criterion in (1, 2) for run in range(1, 11)]
    assert len({str(PUBLISHED[name].cells) for name in names}) == 20


def test_darts_v2_as_released() -> None:
    v2 = PUBLISHED["DARTS_V2"]
    assert flat(v2, "normal") == [
        ("sep_conv_3x3", 0),
        ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 0),
        ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 1),
        ("skip_connect", 0),
        ("skip_connect", 0),
        ("dil_conv_3x3", 2),
    ]
    assert flat(v2, "reduce") == [
        ("max_pool_3x3", 0),
        ("max_pool_3x3", 1),
        ("skip_connect", 2),
        ("max_pool_3x3", 1),
        ("max_pool_3x3", 0),
        ("skip_connect", 2),
        ("skip_connect", 2),
        ("max_pool_3x3", 1),
    ]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("DARTS_V3", "DARTS_V"), ("nasnet", "NASNet"), ("pc_darts_cifar10", "PC_DARTS_CIFAR")],
)
def test_an_unknown_name_suggests_the_nearest_one(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean {meant}") as error:
        load_genotype(typed)
    assert all(name in str(error.value) for name in PUBLISHED)


def test_a_name_unlike_any_other_suggests_nothing() -> None:
    with pytest.raises(UsageError) as error:
        load_genotype("qqqqqqq")
    assert "did you mean" not in str(error.value)


def test_malformed_content_given_directly() -> None:
    with pytest.raises(GenotypeError) as error:
        load_genotype({"format": "x"})
    assert error.value.path == "$.format"


def test_loading_returns_a_copy() -> None:
    content = PUBLISHED["NASNet"].to_dict()
    content["cells"]["normal"]["nodes"].clear()
    content["provenance"]["source"] = "changed"
    assert load_genotype("NASNet").to_dict() != content
    assert PUBLISHED["NASNet"].provenance["source"].startswith("NASNet-A")
