import json
from pathlib import Path

import pytest

from nas_lightning.architecture import Genotype
from nas_lightning.errors import GenotypeError, UsageError
from nas_lightning.spaces import PUBLISHED, load_genotype

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
