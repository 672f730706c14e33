"""The front of a study with budgets: means by cost, dominated methods, and the study itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from nas_lightning.architecture import random_genotype
from nas_lightning.cli.study import read
from nas_lightning.errors import UsageError
from nas_lightning.studies.plan import search_dir, write_study
from nas_lightning.studies.report import write_report
from nas_lightning.studies.report.front import front
from nas_lightning.studies.results import read_results
from tests.cli.conftest import RETRAIN, SEARCH, Nas
from tests.studies.made_up import draw_random, plan, write_finals, write_search
from tests.studies.reports import DARTS, Page, load, words

BUDGETS = {"small": 2e6, "middle": 3e6, "large": 4e6}
COSTS = {"small": [1.5e6, 1.7e6, 2.5e6], "middle": [2.6e6, 2.8e6, 2.9e6], "large": [3.8e6] * 3}
FINALS = {"small": [0.93, 0.94, 0.95], "middle": [0.91, 0.92, 0.93], "large": [0.95, 0.96, 0.97]}
FINALS_OF_RANDOM = [0.90, 0.91, 0.92]
COSTS_OF_RANDOM = [2.0e6, 2.2e6, 2.4e6]


def budgeted(folder: Path, finals: Mapping[str, list[float]] = FINALS, **more: object) -> None:
    """Three budgets, a method without one, and random cells; three seeds."""
    study = plan((*BUDGETS, "free"), 3, random=3, **more)
    write_study(folder, study)
    for number, final in enumerate(FINALS_OF_RANDOM):
        write_finals(folder, study, draw_random(folder, DARTS, number), number, [final])
    for index, method in enumerate((*BUDGETS, "free")):
        for seed in range(3):
            genotype = random_genotype(DARTS, 100 * index + seed)
            if method in BUDGETS:
                entry = {"resource": "parameters", "budget": BUDGETS[method]}
                entry["cost"] = COSTS[method][seed]
                genotype = genotype.with_provenance({"budget": entry})
            write_search(folder, method, seed, genotype)
            if method in finals:
                write_finals(folder, study, genotype, seed, [finals[method][seed]])
    result = search_dir(folder, "small", 0) / "result.json"
    costs = {str(number): cost for number, cost in enumerate(COSTS_OF_RANDOM)}
    result.write_text(json.dumps({**json.loads(result.read_text()), "costs": costs}))


def test_means_by_cost_and_dominated_methods(tmp_path: Path) -> None:
    budgeted(tmp_path)
    found = front(read_results(tmp_path))
    assert found.resource == "parameters"
    assert found.without == ("free",)
    assert [point.method for point in found.points] == ["small", "random", "middle", "large"]
    costs = [point.cost.mean for point in found.points]
    assert costs == pytest.approx([1.9e6, 2.2e6, 8.3e6 / 3, 3.8e6])
    assert [point.final.mean for point in found.points] == pytest.approx([0.94, 0.91, 0.92, 0.96])
    beaten = {point.method: point.beaten for point in found.points}
    assert beaten == {"small": (), "random": ("small",), "middle": ("small",), "large": ()}
    kept = {point.method: (point.budget, point.kept) for point in found.points}
    assert kept == {
        "small": (2e6, 2), "middle": (3e6, 3), "large": (4e6, 3), "random": (None, None)
    }  # fmt: skip


def test_smaller_values_can_be_better(tmp_path: Path) -> None:
    budgeted(tmp_path, higher_is_better=False)
    points = front(read_results(tmp_path)).points
    beaten = {point.method: point.beaten for point in points}
    assert beaten == {
        "small": (), "random": (), "middle": ("random",), "large": ("small", "random", "middle")
    }  # fmt: skip


def test_equal_points_do_not_dominate_each_other(tmp_path: Path) -> None:
    budgeted(tmp_path, {**FINALS, "middle": FINALS["large"]})
    results = read_results(tmp_path)
    middle = next(point for point in front(results).points if point.method == "middle")
    assert middle.beaten == ()
    assert next(p for p in front(results).points if p.method == "large").beaten == ("middle",)


def test_the_report_has_a_section(tmp_path: Path) -> None:
    budgeted(tmp_path)
    write_report(tmp_path)
    text = words(tmp_path)
    assert "Final metric and cost" in text
    assert "Not dominated: small and large, from the smallest cost to the largest." in text
    assert "Without a cost in this resource: free." in text
    assert "Means by cost, in parameters" in text
    rows = Page(tmp_path / "report.html").rows
    (row,) = (row for row in rows if row[:3] == ["middle", "small", "3"])
    assert row[3:6] == ["3M", "3 of 3", "2.767M"]
    assert row[7] == "92.00"
    svg = (tmp_path / "report" / "front.svg").read_text()
    assert all(name in svg for name in ("small", "middle", "large", "random", "10⁶ parameters"))
    (point,) = (one for one in load(tmp_path)["front"] if one["method"] == "middle")
    assert point["beaten"] == ["small"]
    assert point["runs"] == [[2.6e6, 0.91], [2.8e6, 0.92], [2.9e6, 0.93]]


def test_without_budgets_or_results_there_is_no_front(small: Path, tmp_path: Path) -> None:
    assert "Final metric and cost" not in words(small)
    assert load(small)["front"] == []
    budgeted(tmp_path, {})
    write_report(tmp_path)
    found = front(read_results(tmp_path))
    assert found.without == (*BUDGETS, "free")
    assert [point.method for point in found.points] == ["random"]


def test_other_entries_of_a_provenance_are_no_budget(tmp_path: Path) -> None:
    budgeted(tmp_path)
    for seed in range(3):
        path = search_dir(tmp_path, "small", seed) / "genotype.json"
        data = json.loads(path.read_text())
        data["provenance"]["budget"] = [{"resource": "gold"}, {"resource": "macs"}, 3][seed]
        path.write_text(json.dumps(data))
    found = front(read_results(tmp_path))
    assert [point.method for point in found.points] == ["middle", "large"]
    assert found.without == ("small", "free", "random")


def test_budgets_make_a_method_each() -> None:
    line = ["-c", "a=x.yaml", "-c", "y.yaml", "--retrain", "r", "--budgets", "2.5M", "5 ms"]
    methods = read(line).study.methods
    assert [method.name for method in methods] == ["a_2.5M", "a_5ms", "y_2.5M", "y_5ms"]
    assert methods[0].configs == ("x.yaml",)
    assert methods[1].options == ("--model.strategies.budget=5 ms",)
    with pytest.raises(UsageError, match=r"expected budgets such as 3\.2M, found '1/2'"):
        read([*line, "1/2"])


@pytest.mark.usefixtures("in_this_process")
def test_a_study_over_budgets(nas: Nas, work: Path) -> None:
    small = "{class_path: DartsNetwork, init_args: {channels: 4, layers: 3}}"
    arguments = f"resource: parameters, budget: 1, network: {small}"
    (work / "budget.yaml").write_text(
        "model:\n  init_args:\n    strategies+:\n"
        f"      - {{class_path: ResourcePenalty, init_args: {{{arguments}}}}}\n"
    )
    (work / "search.yaml").write_text(SEARCH)
    (work / "retrain.yaml").write_text(RETRAIN)
    line = "study --config a=search.yaml,budget.yaml --budgets 2.2k 3.4k --retrain retrain.yaml"
    done = nas(f"{line} --seeds 1 --random 1 --dir s")
    assert done.code == 0, done.err
    results = read_results(work / "s")
    assert results.methods == ["a_2.2k", "a_3.4k", "random"]
    points = {point.method: point for point in front(results).points}
    assert {name: point.budget for name, point in points.items()} == {
        "a_2.2k": 2200, "a_3.4k": 3400, "random": None
    }  # fmt: skip
    assert all(run.costs.keys() == {0} for run in results.runs if run.method != "random")
    assert "Final metric and cost" in words(work / "s")
