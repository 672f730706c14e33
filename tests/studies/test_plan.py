"""The plan of a study: its file, what may change of it, and the names of its parts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.errors import NASError, UsageError
from nas_lightning.spaces import PUBLISHED, get_space
from nas_lightning.studies.plan import (
    Method,
    Study,
    check_same,
    digest,
    read_study,
    retrain_dir,
    retrain_seeds,
    write_study,
)
from nas_lightning.studies.progress import Line, lines

STUDY = Study(
    methods=(Method("darts", ("a.yaml",), "1"), Method("gaea", ("a.yaml", "b.yaml"), "2")),
    seeds=2,
    retrain=Method("retrain", ("r.yaml",), "3"),
    retrain_seeds=3,
    random=1,
    search_options=("--data.root", "data"),
    metric="psnr",
)


@pytest.mark.parametrize(
    "study", [STUDY, replace(STUDY, retrain=None, table="/t.csv", column="x", metric="accuracy")]
)
def test_it_is_read_as_it_was_written(study: Study, tmp_path: Path) -> None:
    write_study(tmp_path, study)
    assert read_study(tmp_path) == study


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "holds no study"),
        ("{", "not valid JSON"),
        ("[]", "not the plan"),
        ("{}", "not the"),
    ],
)
def test_another_folder_is_refused(text: str | None, reason: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "study.json").write_text(text)
    with pytest.raises(NASError, match=reason):
        read_study(tmp_path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({**STUDY.to_dict(), "version": 2}))
    with pytest.raises(UsageError, match="version 2"):
        read_study(tmp_path)


def test_it_may_become_larger() -> None:
    more = (*STUDY.methods, Method("gdas", ("c.yaml",), "4"))
    check_same(Path("x"), STUDY, replace(STUDY, seeds=5, retrain_seeds=4, methods=more))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"methods": (Method("darts", ("a.yaml",), "9"),)}, "the method darts"),
        ({"retrain": Method("retrain", ("r.yaml",), "9")}, "the retraining"),
        ({"retrain": None}, "the retraining"),
        ({"table": "/t.csv"}, "the table"),
        ({"metric": "ssim"}, "the metric"),
        ({"random": 2}, "random cells"),
    ],
)
def test_it_may_not_become_another_one(change: dict[str, object], what: str) -> None:
    with pytest.raises(UsageError, match=f"differs in .*{what}.*--dir"):
        check_same(Path("x"), STUDY, replace(STUDY, **change))  # type: ignore[arg-type]


def test_all_methods_come_before_the_next_seed() -> None:
    assert list(map(str, lines(STUDY))) == ["darts 0", "gaea 0", "darts 1", "gaea 1", "random 0"]
    assert Line("random", 0) not in lines(replace(STUDY, retrain=None, table="t"))


def test_cells_have_names_that_tell_them_apart() -> None:
    cells = [random_genotype(get_space("nas_bench_201"), seed) for seed in range(200)]
    different = {json.dumps(cell.to_dict()["cells"]) for cell in cells}
    assert len({digest(cell) for cell in cells}) == len(different) > 190
    darts = PUBLISHED["DARTS_V2"]
    assert digest(darts) == digest(Genotype(darts.space, darts.cells, {"epoch": 3}))


def test_one_cell_has_one_folder_a_seed() -> None:
    one, two = PUBLISHED["DARTS_V1"], PUBLISHED["DARTS_V2"]
    folders = {retrain_dir(Path("x"), cell, seed) for cell in (one, two) for seed in (0, 1)}
    assert len(folders) == 4


def test_retrainings_of_different_seeds_share_no_seed() -> None:
    found = [seed for number in range(20) for seed in retrain_seeds(number, 5)]
    assert len(set(found)) == 100
    assert retrain_seeds(3, 2) == retrain_seeds(3, 5)[:2]  # more of them later keep the first
