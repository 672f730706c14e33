"""`nas lookup` in the DARTS space, with a tiny surrogate."""

import json
from pathlib import Path

import pytest
from scipy import stats

from nas_lightning.cli.lookup import MODELS
from nas_lightning.studies.surrogate import SUFFIXES, Surrogate
from tests.cli.conftest import Nas
from tests.studies import surrogates
from tests.studies.surrogates import cell, uniform

NORMALS = [
    f"{uniform('sep_conv_3x3', 1)} sep_conv_3x3:{a} sep_conv_3x3:2 {uniform('max_pool_3x3', 1)} "
    f"{last}:1 sep_conv_3x3:0"
    for a in (0, 1)
    for last in ("sep_conv_3x3", "sep_conv_5x5")
]


@pytest.fixture
def tiny(work: Path) -> Path:
    """A surrogate, cells, and a table of trained cells."""
    cell(uniform("skip_connect")).save("skips.json")
    cell(uniform("sep_conv_7x7")).save("sevens.json")
    rows = [f"{text},{text},{90 + i},{95 - i}" for i, text in enumerate(NORMALS)]
    Path("trained.csv").write_text(
        "\n".join(["normal,reduce,max_test_acc,other", *rows]), encoding="utf-8"
    )
    return surrogates.write(work)


def test_an_answer_carries_protocol_error_and_flag(nas: Nas, tiny: Path) -> None:
    line = "lookup --space darts --table tiny.npz --table tiny.npz --trained trained.csv"
    result = nas(f"{line} DARTS_V2 skips.json")
    assert result.code == 0, result.err
    assert "predicted validation accuracy, NAS-Bench-301 surrogate" in result.out
    assert "true" not in result.out
    lines = result.out.splitlines()
    cells = {words[0]: words[1:] for words in map(str.split, lines) if words}
    assert cells["DARTS_V2"][2:] == ["normal", "2", "of", "8,", "reduce", "8", "of", "8"]
    assert cells["skips.json"][2:] == ["normal", "8", "of", "8,", "reduce", "8", "of", "8", "*"]
    assert cells["DARTS_V2"][0] == cells["DARTS_V2"][1]
    assert "does not see that such cells may collapse" in result.out
    assert lines[-1].startswith("model 2, tiny.npz: Spearman 0.")
    assert "with max_test_acc of 4 trained cells of trained.csv" in lines[-1]
    alone = nas("lookup --table tiny.npz DARTS_V2").out
    assert "error not measured; --trained FILE measures it" in alone
    assert "collapse" not in alone


def test_the_error_is_measured_on_the_named_cells(nas: Nas, tiny: Path) -> None:
    line = "lookup --table tiny.npz --trained trained.csv --json"
    model = Surrogate.load(tiny)
    predicted = [model.predict(cell(text)) for text in NORMALS]
    assert len(set(predicted)) == 4
    for more, measured in (("", range(4)), ("--column other", range(4, 0, -1))):
        found = json.loads(nas(f"{line} {more}").out)["looked_up"]
        assert found["cells"] == []
        error = found["models"][0]["error"]
        spearman, kendall = (one["value"] for one in error["correlations"])
        assert spearman == pytest.approx(stats.spearmanr(predicted, list(measured)).statistic)
        assert kendall == pytest.approx(stats.kendalltau(predicted, list(measured)).statistic)
        assert error["n"] == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sevens.json", "'sevens.json': the surrogate does not know 'sep_conv_7x7'"),
        ("DARTS_V2 --rank x", "a surrogate has none"),
        ("DARTS_V2 --column x", "--column is a column of --trained"),
        ("--trained trained.csv --column x", "no column 'x'; it has max_test_acc, other"),
        ("--trained skips.json", "it needs the columns normal and reduce"),
        ("--trained no.csv", "cannot read no.csv"),
        ("--trained wrong.csv", "wrong.csv, line 2: expected 8 pairs op:input"),
        ("--trained high.csv", "high.csv, line 2: expected an accuracy of 0 to 100 %"),
        ("DARTS_V2 --encoding no.json", "cannot read no.json"),
        ("DARTS_V2 --table no.npz", "cannot read no.npz: there is no such file"),
    ],
)
def test_what_is_refused(nas: Nas, tiny: Path, line: str, message: str) -> None:
    head = "normal,reduce,max_test_acc\n"
    far = uniform("skip_connect").replace(":1", ":2", 1)
    Path("wrong.csv").write_text(f"{head}{far},{far},90\n", encoding="utf-8")
    Path("high.csv").write_text(f"{head}{NORMALS[0]},{NORMALS[0]},101\n", encoding="utf-8")
    result = nas(f"lookup --table tiny.npz {line}")
    assert result.code in (1, 2)
    assert message in result.err
    assert result.err.count("\n") == 1
    assert result.out == ""


def test_the_command_line_knows_the_suffixes_of_all_surrogates() -> None:
    assert set(MODELS) == set(SUFFIXES)
