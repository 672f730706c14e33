"""Genotypes as the text that DARTS and its successors print: read everywhere, never evaluated."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nas_lightning.architecture import Genotype
from nas_lightning.errors import GenotypeError, NASError
from nas_lightning.spaces import PUBLISHED, load_genotype
from nas_lightning.spaces.nas_bench_201 import from_string

CELLS = [name for name, genotype in PUBLISHED.items() if "normal" in genotype.cells]
RECURRENT = [name for name, genotype in PUBLISHED.items() if "recurrent" in genotype.cells]
NB201 = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"


def flat(genotype: Genotype) -> str:
    """Two edges a node, one after the other, as DARTS, P-DARTS and PC-DARTS print them."""
    return call(genotype, lambda node, _: [(edge.primitive, edge.source) for edge in node])


def nested(genotype: Genotype) -> str:
    """A tuple for each node, as GDAS prints them, and a weight with each edge."""
    return call(genotype, lambda node, _: [tuple((e.primitive, e.source, 0.125) for e in node)])


def by_target(genotype: Genotype) -> str:
    """The node and its source in each edge, as FairDARTS prints them."""
    return call(genotype, lambda node, at: [(edge.primitive, at, edge.source) for edge in node])


def call(genotype: Genotype, edges: Callable[..., list[object]]) -> str:
    """The text of a genotype whose nodes are written by a function of node and state."""
    parts = []
    for kind, cell in genotype.cells.items():
        written = [e for at, node in enumerate(cell.nodes, cell.inputs) for e in edges(node, at)]
        name = "concat" if kind == "recurrent" else f"{kind}_concat"
        parts += [f"{kind}={written}", f"{name}={list(cell.concat)}"]
    return f"Genotype({', '.join(parts)})"


@pytest.mark.parametrize("write", [flat, nested, by_target])
@pytest.mark.parametrize("name", CELLS)
def test_every_published_cell_is_read_back(name: str, write: Callable[[Genotype], str]) -> None:
    assert load_genotype(write(PUBLISHED[name])) == PUBLISHED[name]


@pytest.mark.parametrize("name", RECURRENT)
def test_every_published_recurrent_cell_is_read_back(name: str) -> None:
    assert load_genotype(flat(PUBLISHED[name])) == PUBLISHED[name]


@pytest.mark.parametrize(
    "dress",
    [
        "PDARTS = {}",
        "11/30 02:14:11 PM genotype = {}\n11/30 02:14:12 PM train_acc 93.1\n",
        "# found\n\nDARTS_V2 = {}\n",
        "\ufeff{}",
    ],
)
def test_a_text_within_a_program_or_a_log(dress: str, tmp_path: Path) -> None:
    text = flat(PUBLISHED["DARTS_V2"]).replace(", ", ",\n    ").replace("[2,\n    3,", "[2, 3,")
    (tmp_path / "found.txt").write_text(dress.format(text), encoding="utf-8")
    assert load_genotype(tmp_path / "found.txt") == PUBLISHED["DARTS_V2"]


@pytest.mark.parametrize("concat", ["range(2, 6)", "list(range(2, 6))", "(2, 3, 4, 5)"])
def test_a_range_is_the_list_of_its_numbers(concat: str) -> None:
    text = flat(PUBLISHED["DARTS_V1"]).replace("[2, 3, 4, 5]", concat)
    assert concat in text
    assert load_genotype(text) == PUBLISHED["DARTS_V1"]


@pytest.mark.parametrize("dress", ["{}", "  {}\n", "Structure(4 nodes with {})", "best: '{}'"])
def test_an_architecture_string_in_a_file(dress: str, tmp_path: Path) -> None:
    (tmp_path / "found.txt").write_text(dress.format(NB201))
    assert load_genotype(tmp_path / "found.txt") == from_string(NB201)


PAIR = "('skip_connect', 0), ('skip_connect', 1)"
REFUSED = {
    "no list": ("Genotype(normal=3)", "at normal: expected a list of edges, found 3"),
    "no second cell": (f"Genotype(normal=[{PAIR}], normal_concat=[2])", "at reduce: expected"),
    "no concat": (f"Genotype(normal=[{PAIR}], reduce=[{PAIR}])", r"\$\.cells\.normal\.concat"),
    "an odd edge": ("Genotype(normal=[('skip_connect', 0)])", "2 edges for each node, found 1"),
    "four parts": ("Genotype(normal=[('skip_connect', 0, 1, 2)])", "expected an edge such as"),
    "an unknown operation": (
        "Genotype(normal=[('conv_9x9', 0), ('skip_connect', 1)], normal_concat=[2], "
        f"reduce=[{PAIR}], reduce_concat=[2])",
        "unknown primitive 'conv_9x9'",
    ),
    "a later source": (
        "Genotype(normal=[('skip_connect', 0), ('skip_connect', 5)], normal_concat=[2], "
        f"reduce=[{PAIR}], reduce_concat=[2])",
        "states 0 to 1, found 5",
    ),
    "a call": ("Genotype(normal=open('PWNED', 'w'))", "expected a list, a text or a number"),
    "a formula": ("Genotype(normal=[('skip_connect', 9**9**9)])", "expected a list, a text"),
    "a huge range": ("Genotype(normal=range(10**9))", "expected a list"),
    "no names": ("Genotype(1, 2)", "expected arguments with names"),
    "a star": ("Genotype(**{'normal': []})", "expected a list"),
    "half": ("Genotype(normal=[('skip", "a bracket is not closed"),
    "no Python": ("Genotype(normal=[(skip connect)])", "as a Python program has it"),
    "deep": (f"Genotype(normal={'[' * 5000}{']' * 5000})", "as a Python program has it"),
    "two": ("a = Genotype(normal=[])\nb = Genotype(normal=[])", "holds 2 genotypes"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GenotypeError, match=reason):
        load_genotype(text)
    assert not list(tmp_path.iterdir())  # nothing was evaluated
    Path("found.txt").write_text(text)
    with pytest.raises(GenotypeError, match=r"^found\.txt is not valid"):
        load_genotype("found.txt")


def test_other_texts_and_checkpoints_are_no_genotypes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nothing")
    with pytest.raises(NASError, match=r"a\.txt is not a genotype"):
        load_genotype(tmp_path / "a.txt")
    (tmp_path / "last.ckpt").write_bytes(b"PK")
    with pytest.raises(NASError, match=r"nas derive .*last\.ckpt -o genotype\.json"):
        load_genotype(tmp_path / "last.ckpt")


def test_a_run_directory_and_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PUBLISHED["DARTS_V1"].save(tmp_path / "run/genotype.json")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_genotype(tmp_path / "run") == PUBLISHED["DARTS_V1"]
    assert load_genotype("~/run/genotype.json") == PUBLISHED["DARTS_V1"]
