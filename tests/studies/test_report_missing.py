"""Reports of unfinished studies, and of studies with too few runs to say much."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nas_lightning.architecture import random_genotype
from nas_lightning.errors import UsageError
from nas_lightning.studies.plan import digest, search_dir, write_study
from nas_lightning.studies.report import write_report
from nas_lightning.studies.results import write_failure
from tests.studies.made_up import draw_random, plan, write_finals, write_search
from tests.studies.reports import DARTS, FINALS, found, load, small_study, words


def test_half_a_study(tmp_path: Path) -> None:
    small_study(tmp_path, epochs=0)
    shutil.rmtree(search_dir(tmp_path, "first", 3))
    shutil.rmtree(search_dir(tmp_path, "second", 1))
    shutil.rmtree(tmp_path / "retrains" / digest(found(1, 2)))
    (tmp_path / "random/cell_0.json").unlink()
    write_failure(search_dir(tmp_path, "second", 1), "out of memory")
    write_report(tmp_path)
    states = {(run["method"], run["seed"]): run["state"] for run in load(tmp_path)["results"]}
    assert states["first", 3] == "not searched"
    assert states["second", 1] == "failed"
    assert states["second", 2] == "0 of 1 retrained"
    assert states["random", 0] == "not drawn"
    assert sum(state == "done" for state in states.values()) == 8
    text = words(tmp_path)
    missing = "1 not searched, 1 failed, 1 not yet retrained and 1 not drawn"
    assert f"4 of 12 runs have no final metric: {missing}." in text
    assert "out of memory" in text
    (pair, *_) = load(tmp_path)["comparisons"]
    assert pair["n"] == 1  # both have seed 0 only
    assert pair["difference"] == pytest.approx(FINALS["first"][0] - FINALS["second"][0])


@pytest.mark.parametrize(
    ("methods", "seeds", "random"), [(("a", "b"), 3, 2), (("a",), 1, 0), ((), 1, 2), (("a",), 0, 0)]
)
def test_nothing_has_run(tmp_path: Path, methods: tuple[str, ...], seeds: int, random: int) -> None:
    write_study(tmp_path, plan(methods, seeds, random=random))
    page = write_report(tmp_path).page
    report = load(tmp_path)
    assert len(report["results"]) == len(methods) * seeds + random
    assert all(said["n"] == 0 for said in report["statistics"].values())
    text = words(tmp_path)
    assert "No run has a final metric yet." in text
    assert "No search has logged its α." in text
    assert "<svg" not in page.read_text(encoding="utf-8")


def test_all_failed(tmp_path: Path) -> None:
    write_study(tmp_path, plan(("a", "b"), 2))
    for method in "ab":
        for seed in range(2):
            write_failure(search_dir(tmp_path, method, seed), f"broken {method}{seed}")
    write_report(tmp_path)
    text = words(tmp_path)
    assert "4 of 4 runs have no final metric: 4 failed." in text
    assert all(f"broken {name}" in text for name in ("a0", "a1", "b0", "b1"))


def test_one_seed_of_one_method(tmp_path: Path) -> None:
    study = plan(("only",), 1)
    write_study(tmp_path, study)
    genotype = random_genotype(DARTS, 0)
    write_search(tmp_path, "only", 0, genotype, one_shot=0.3, supernet=0.2)
    write_finals(tmp_path, study, genotype, 0, [0.9])
    write_report(tmp_path)
    text = words(tmp_path)
    assert "std needs 2 runs" in text
    assert "There is nothing to compare: only one method ran." in text
    assert "correlation of the one-shot metric with the final metric is undefined" in text
    assert "agreement needs at least two cells" in text
    assert "The study has no random cells." in text
    assert load(tmp_path)["agreement"]["only"]["agreement"] is None


def test_finals_that_are_all_equal(tmp_path: Path) -> None:
    study = plan(("a", "b"), 3, random=3)
    write_study(tmp_path, study)
    for number in range(3):
        write_finals(tmp_path, study, draw_random(tmp_path, DARTS, number), number, [0.9])
    for index, method in enumerate("ab"):
        for seed in range(3):
            genotype = random_genotype(DARTS, 10 * index + seed)
            scores = {0: 0.1, 1: 0.2, 2: 0.3}
            write_search(tmp_path, method, seed, genotype, one_shot=0.1 * seed, scores=scores)
            write_finals(tmp_path, study, genotype, seed, [0.9])
    write_report(tmp_path)
    text = words(tmp_path)
    assert "cannot tell a and b apart: their means are equal." in text
    assert "all second values are equal" in text
    assert "τ is undefined for every search: all final metrics are equal." in text
    assert load(tmp_path)["comparisons"][0]["p"] == 1


def test_a_folder_without_a_study(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no study"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())
