import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_lightning.architecture import (
    Cell,
    CellGenotype,
    Genotype,
    NodeInput,
    SearchSpace,
    dense_edges,
    random_genotype,
    state_name,
)
from nas_lightning.errors import GenotypeError, NASError
from nas_lightning.spaces import PUBLISHED, DartsSpace

SPACE = DartsSpace()
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def cells(draw: st.DrawFn) -> CellGenotype:
    count = draw(st.integers(1, 5))
    primitives = st.sampled_from(sorted(SPACE.known_primitives))
    nodes = tuple(
        tuple(
            NodeInput(draw(primitives), draw(st.integers(0, 1 + i)))
            for _ in range(draw(st.integers(1, 3)))
        )
        for i in range(count)
    )
    concat = st.lists(st.integers(2, 1 + count), min_size=1, max_size=count, unique=True)
    return CellGenotype(nodes, tuple(draw(concat)))


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    extra = st.dictionaries(st.text(max_size=5), JSON, max_size=3)
    kinds = {"normal": draw(cells()), "reduce": draw(cells())}
    return Genotype(DartsSpace(), kinds, draw(extra), draw(extra))


@given(genotypes())
def test_json_round_trip_keeps_the_genotype(genotype: Genotype) -> None:
    again = Genotype.from_dict(json.loads(json.dumps(genotype.to_dict())))
    assert again == genotype
    assert again.to_dict() == genotype.to_dict()  # with provenance and mixing weights


@given(genotypes())
def test_file_round_trip_keeps_the_genotype(
    tmp_path_factory: pytest.TempPathFactory, genotype: Genotype
) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip" / "genotype.json"
    genotype.save(path)
    assert json.loads(path.read_text(encoding="utf-8")) == genotype.to_dict()
    assert Genotype.load(path).to_dict() == genotype.to_dict()


def test_saving_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "genotype.json"
    PUBLISHED["DARTS_V1"].save(path)
    PUBLISHED["DARTS_V2"].save(path)
    assert Genotype.load(path) == PUBLISHED["DARTS_V2"]
    assert [p.name for p in tmp_path.iterdir()] == ["genotype.json"]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "genotype.json"
    PUBLISHED["DARTS_V1"].save(path)

    def full(self: Path, *args: object, **kwargs: object) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        PUBLISHED["DARTS_V2"].save(path)
    assert Genotype.load(path) == PUBLISHED["DARTS_V1"]


def test_equality_compares_cells_but_not_provenance_and_mixing() -> None:
    v2 = PUBLISHED["DARTS_V2"]
    assert Genotype(DartsSpace(), v2.cells, {"seed": 3}, {"normal": {}}) == v2
    assert Genotype(SearchSpace("other", SPACE.cells, 2), v2.cells) != v2
    assert PUBLISHED["DARTS_V1"] != v2


Change = Callable[[dict[str, Any]], object]


def normal(data: dict[str, Any]) -> dict[str, Any]:
    cell: dict[str, Any] = data["cells"]["normal"]
    return cell


MALFORMED: dict[str, tuple[Change, str]] = {
    "format": (lambda d: d.update(format="something else"), "$.format"),
    "no format": (lambda d: d.pop("format"), "$.format"),
    "version": (lambda d: d.update(version=3), "$.version"),
    "no version": (lambda d: d.pop("version"), "$.version"),
    "no space": (lambda d: d.pop("space"), "$.space"),
    "unknown space of version 1": (lambda d: d.update(version=1, space="moon"), "$.space"),
    "space without a class": (lambda d: d["space"].pop("class_path"), "$.space"),
    "space that cannot be imported": (
        lambda d: d["space"].update(class_path="moon.Space"),
        "$.space.class_path",
    ),
    "class that is no space": (
        lambda d: d["space"].update(class_path="pathlib.Path"),
        "$.space.class_path",
    ),
    "function": (lambda d: d["space"].update(class_path="os.getcwd"), "$.space.class_path"),
    "arguments in a list": (lambda d: d["space"].update(init_args=[]), "$.space.init_args"),
    "unknown argument": (lambda d: d["space"]["init_args"].update(moon=1), "$.space.init_args"),
    "argument out of range": (
        lambda d: d["space"]["init_args"].update(nodes=0),
        "$.space.init_args",
    ),
    "argument of another type": (
        lambda d: d["space"]["init_args"].update(nodes="four"),
        "$.space.init_args.nodes",
    ),
    "space is a number": (lambda d: d.update(space=3), "$.space"),
    "no cells": (lambda d: d.pop("cells"), "$.cells"),
    "cells in a list": (lambda d: d.update(cells=[]), "$.cells"),
    "missing kind": (lambda d: d["cells"].pop("reduce"), "$.cells"),
    "additional kind": (lambda d: d["cells"].update(third={}), "$.cells"),
    "cell is text": (lambda d: d["cells"].update(reduce="x"), "$.cells.reduce"),
    "no nodes": (lambda d: normal(d).pop("nodes"), "$.cells.normal.nodes"),
    "empty nodes": (lambda d: normal(d).update(nodes=[]), "$.cells.normal.nodes"),
    "node is an object": (
        lambda d: normal(d)["nodes"].__setitem__(1, {}),
        "$.cells.normal.nodes[1]",
    ),
    "input is a list": (
        lambda d: normal(d)["nodes"][3].__setitem__(1, ["skip_connect", 0]),
        "$.cells.normal.nodes[3][1]",
    ),
    "unknown primitive": (
        lambda d: normal(d)["nodes"][3][1].update(primitive="sep_conv_9x9"),
        "$.cells.normal.nodes[3][1].primitive",
    ),
    "none": (
        lambda d: normal(d)["nodes"][0][1].update(primitive="none"),
        "$.cells.normal.nodes[0][1].primitive",
    ),
    "no primitive": (
        lambda d: normal(d)["nodes"][0][0].pop("primitive"),
        "$.cells.normal.nodes[0][0].primitive",
    ),
    "source is the node itself": (
        lambda d: normal(d)["nodes"][0][1].update(source=2),
        "$.cells.normal.nodes[0][1].source",
    ),
    "negative source": (
        lambda d: d["cells"]["reduce"]["nodes"][3][0].update(source=-1),
        "$.cells.reduce.nodes[3][0].source",
    ),
    "source is a boolean": (
        lambda d: normal(d)["nodes"][1][0].update(source=True),
        "$.cells.normal.nodes[1][0].source",
    ),
    "source is a float": (
        lambda d: normal(d)["nodes"][1][0].update(source=1.0),
        "$.cells.normal.nodes[1][0].source",
    ),
    "no concat": (lambda d: normal(d).pop("concat"), "$.cells.normal.concat"),
    "empty concat": (lambda d: normal(d).update(concat=[]), "$.cells.normal.concat"),
    "concat names a state that is not there": (
        lambda d: normal(d)["concat"].__setitem__(3, 6),
        "$.cells.normal.concat[3]",
    ),
    "concat names an input": (
        lambda d: normal(d)["concat"].__setitem__(0, 1),
        "$.cells.normal.concat[0]",
    ),
    "concat twice": (lambda d: normal(d).update(concat=[2, 3, 3]), "$.cells.normal.concat"),
    "concat is a boolean": (
        lambda d: normal(d)["concat"].__setitem__(1, True),
        "$.cells.normal.concat[1]",
    ),
    "provenance is a list": (lambda d: d.update(provenance=[]), "$.provenance"),
    "mixing is a number": (lambda d: d.update(mixing=1), "$.mixing"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_content_is_refused_with_its_json_path(case: str, tmp_path: Path) -> None:
    data = PUBLISHED["DARTS_V2"].to_dict()
    change, path = MALFORMED[case]
    change(data)
    file = tmp_path / "genotype.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(GenotypeError) as error:
        Genotype.load(file)
    assert error.value.path == path
    assert f"at {path}: " in str(error.value)


@pytest.mark.parametrize("text", ["null", "[]", "3", '"DARTS_V2"', "true"])
def test_json_that_is_not_an_object_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "genotype.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(GenotypeError, match="expected an object") as error:
        Genotype.load(file)
    assert error.value.path == "$"


def test_invalid_json_is_refused_with_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "genotype.json"
    file.write_text('{\n "format": nas', encoding="utf-8")
    with pytest.raises(NASError, match=r"genotype\.json, line 2, column 12: not valid JSON"):
        Genotype.load(file)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_never_read_as_a_genotype(share: float, tmp_path: Path) -> None:
    file = tmp_path / "genotype.json"
    PUBLISHED["DARTS_V1"].save(file)
    text = file.read_text(encoding="utf-8")
    file.write_text(text[: int(share * len(text))], encoding="utf-8")
    with pytest.raises(NASError, match="not valid JSON"):
        Genotype.load(file)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "genotype.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(NASError, match=r"cannot read .*genotype\.json"):
        Genotype.load(file)


def test_a_genotype_of_another_space_is_refused() -> None:
    other = SearchSpace("wide", SPACE.cells, 2)
    data = PUBLISHED["DARTS_V1"].to_dict()
    with pytest.raises(
        GenotypeError, match="expected a genotype of space 'wide', found 'darts'"
    ) as error:
        Genotype.from_dict(data, other)
    assert error.value.path == "$.space"
    assert Genotype.from_dict(data, SPACE).space is SPACE


def test_a_space_without_a_subclass_is_recorded_by_its_cells(tmp_path: Path) -> None:
    cells = tuple(Cell(kind, 1, dense_edges(1, 2), ("none", "mine"), True) for kind in "ab")
    space = SearchSpace("mine", cells, None, excluded=())
    genotype = random_genotype(space, seed=0)
    genotype.save(tmp_path / "genotype.json")
    again = Genotype.load(tmp_path / "genotype.json")
    assert again == genotype
    assert again.space == space
    data = genotype.to_dict()
    data["space"]["init_args"]["cells"][0].pop("edges")
    with pytest.raises(GenotypeError) as error:
        Genotype.from_dict(data)
    assert error.value.path == "$.space.init_args.cells[0]"


def test_text_form() -> None:
    cell = CellGenotype(((NodeInput("skip_connect", 0), NodeInput("sep_conv_3x3", 1)),), (2,))
    other = CellGenotype(((NodeInput("max_pool_3x3", 1),), (NodeInput("dil_conv_5x5", 2),)), (2, 3))
    assert str(Genotype(DartsSpace(), {"normal": cell, "reduce": other})) == (
        "normal cell\n"
        "  0 = skip_connect(c_{k-2}) + sep_conv_3x3(c_{k-1})\n"
        "  output = 0\n"
        "reduce cell\n"
        "  0 = max_pool_3x3(c_{k-1})\n"
        "  1 = dil_conv_5x5(0)\n"
        "  output = 0, 1"
    )


def test_names_of_states() -> None:
    assert [state_name(i) for i in range(4)] == ["c_{k-2}", "c_{k-1}", "0", "1"]


def test_count_of_a_primitive() -> None:
    v2 = PUBLISHED["DARTS_V2"]
    assert v2.count("sep_conv_3x3", "normal") == 5
    assert v2.count("skip_connect", "normal") == 2
    assert v2.count("max_pool_3x3", "reduce") == 5
    assert v2.count("none", "normal") == 0
