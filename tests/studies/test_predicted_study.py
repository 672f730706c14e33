"""A study that a surrogate judges: what its report says, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nas_lightning.architecture import Genotype
from nas_lightning.errors import UsageError
from nas_lightning.spaces import load_genotype
from nas_lightning.studies.judges import check_judge
from nas_lightning.studies.plan import search_dir
from nas_lightning.studies.report import write_report
from nas_lightning.studies.surrogate import Surrogate
from tests.studies import surrogates
from tests.studies.made_up import plan, predicted_study
from tests.studies.surrogates import cell, uniform

FIVES = uniform("sep_conv_5x5")
TRAINED = f"""\
normal,reduce,max_test_acc
{FIVES},{FIVES},97
{uniform("skip_connect")},{FIVES},90
{uniform("max_pool_3x3", 3)} sep_conv_5x5:1 skip_connect:0,{FIVES},95
{uniform("max_pool_3x3", 3)} sep_conv_5x5:2 skip_connect:0,{FIVES},91
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "trained.csv").write_text(TRAINED, encoding="utf-8")
    return surrogates.write(tmp_path)


def test_the_report_names_the_prediction_and_its_error(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    predicted_study(folder, model, tmp_path / "trained.csv")
    report = write_report(folder)
    numbers = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    surrogate = Surrogate.load(model)
    for run in numbers["results"]:
        if run["method"] == "darts":
            found = Genotype.load(search_dir(folder, "darts", run["seed"]) / "genotype.json")
            assert run["final"] == pytest.approx(surrogate.predict(found))
        assert run["standing"] is None
    assert numbers["best"] is None
    assert numbers["prediction"]["flagged"] == [["darts", 0]]
    assert numbers["prediction"]["error"]["n"] == 4
    text = (folder / "report.md").read_text(encoding="utf-8")
    for words in (
        "Final predicted validation accuracy, %",
        "of 4 trained cells",
        "1 cell flagged (darts 0)",
        "predicted by a surrogate instead of retrained",
    ):
        assert words in text
    assert report.summary[0].startswith("No cell was trained: the final metric is the predicted")
    for words in ("true", "Regret", "regret", "on the test data:", str(tmp_path)):
        assert words not in text


def test_an_error_that_is_not_measured_is_said(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    predicted_study(folder, model)
    write_report(folder)
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "error not measured" in text


def test_what_does_not_fit_is_refused(model: Path, tmp_path: Path) -> None:
    study = replace(plan(("darts",), 1, retrain=None), table=str(model))
    trained = str(tmp_path / "trained.csv")
    known = cell(FIVES)
    check_judge(study, "accuracy", known)
    check_judge(replace(study, trained=trained), "accuracy", known)
    with pytest.raises(UsageError, match="predicts accuracy, and the study compares psnr"):
        check_judge(study, "psnr", known)
    with pytest.raises(UsageError, match="--column is a column of --trained"):
        check_judge(replace(study, column="x"), "accuracy", known)
    with pytest.raises(UsageError, match="no column 'x'"):
        check_judge(replace(study, column="x", trained=trained), "accuracy", known)
    other = load_genotype("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    with pytest.raises(UsageError, match="space 'nas_bench_201'"):
        check_judge(study, "accuracy", other)
    with pytest.raises(UsageError, match="name one by --table"):
        check_judge(replace(study, table=None, trained=trained), "accuracy", known)
