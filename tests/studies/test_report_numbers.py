"""The numbers of a report, on studies that never ran."""

from __future__ import annotations

import csv
import math
from itertools import combinations
from pathlib import Path
from statistics import fmean, median, stdev

import numpy as np
import pytest
from scipy import stats

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.spaces.nas_bench_201 import from_string
from nas_lightning.studies.comparison import compare, holm
from nas_lightning.studies.plan import digest, write_study
from nas_lightning.studies.report import write_report
from nas_lightning.studies.report.agreement import overlap
from nas_lightning.studies.report.collapse import collapses
from nas_lightning.studies.results import Results, Run
from tests.studies.made_up import plan, table_study, write_finals, write_search
from tests.studies.reports import DARTS, FINALS, ONE_SHOT, SCORES, found, load, words


def wanted_tau(x: list[float], y: list[float]) -> float:
    """Kendall's τ by its definition: no ties."""
    pairs = list(combinations(zip(x, y, strict=True), 2))
    return fmean(math.copysign(1, (a[0] - b[0]) * (a[1] - b[1])) for a, b in pairs)


def test_statistics_of_each_method(small: Path) -> None:
    report = load(small)
    for method, finals in FINALS.items():
        lower, upper = np.quantile(finals, [0.25, 0.75])
        said = report["statistics"][method]
        assert said["n"] == 4
        assert said["mean"] == pytest.approx(fmean(finals))
        assert said["std"] == pytest.approx(stdev(finals))
        assert said["median"] == pytest.approx(median(finals))
        assert said["iqr"] == pytest.approx(upper - lower)
        assert (said["min"], said["max"]) == (min(finals), max(finals))
        assert min(finals) <= said["low"] <= said["mean"] <= said["high"] <= max(finals)
    assert report["metric"] == {"name": "accuracy", "higher_is_better": True}


def test_every_two_methods_are_compared_and_p_is_adjusted_for_all(small: Path) -> None:
    said = load(small)["comparisons"]
    expected = [
        compare(a, b, list(zip(FINALS[a], FINALS[b], strict=True)))
        for a, b in combinations(FINALS, 2)
    ]
    assert [(c["first"], c["second"]) for c in said] == list(combinations(FINALS, 2))
    for found_, wanted in zip(said, expected, strict=True):
        a, b = FINALS[wanted.first], FINALS[wanted.second]
        assert found_["difference"] == pytest.approx(fmean(a) - fmean(b))
        assert found_["n"] == 4
        assert found_["runs_needed"] == wanted.runs_needed
    assert [c["p_holm"] for c in said] == holm([c.p for c in expected if c.p is not None])
    assert not any(c["told_apart"] for c in said)  # four pairs cannot: p is at least 1/8


def test_one_shot_against_final(small: Path) -> None:
    said = load(small)["correlations"]
    x = {**ONE_SHOT, "all methods": [v for values in ONE_SHOT.values() for v in values]}
    y = {**FINALS, "all methods": FINALS["first"] + FINALS["second"]}
    for name, scores in x.items():
        values = [c["value"] for c in said["one_shot"][name]["coefficients"]]
        wanted = (
            stats.pearsonr(scores, y[name]).statistic,
            stats.spearmanr(scores, y[name]).statistic,
            stats.kendalltau(scores, y[name]).statistic,
        )
        assert values == pytest.approx(wanted)
    how = said["one_shot"]["second"]["strength"]
    tau = f"{wanted_tau(ONE_SHOT['second'], FINALS['second']):.2f}".replace("-", "−")
    assert f"; second {how} ({tau}, n = 4)." in words(small)
    assert said["supernet"]["first"]["strength"] == "undefined"
    assert "needs 3 pairs" in said["supernet"]["first"]["coefficients"][2]["note"]


def test_supernets_rank_the_random_cells(small: Path) -> None:
    tau = stats.kendalltau(SCORES, FINALS["random"]).statistic
    assert load(small)["rankings"] == [
        {"method": "first", "seed": seed, "n": 4, "tau": pytest.approx(tau), "note": None}
        for seed in (0, 1)
    ]


def test_agreement_counts_equal_inputs_of_equal_nodes(small: Path) -> None:
    def entries(genotype: Genotype) -> list[list[tuple[str, int]]]:
        return [
            [(i.primitive, i.source) for i in node]
            for cell in genotype.cells.values()
            for node in cell.nodes
        ]

    cells = [found(0, seed) for seed in range(4)]
    shares = [
        fmean(sum(i in b for i in a) / 2 for a, b in zip(entries(one), entries(two), strict=True))
        for one, two in combinations(cells, 2)
    ]
    said = load(small)["agreement"]["first"]
    assert said["agreement"] == pytest.approx(fmean(shares))
    assert (said["cells"], said["distinct"]) == (4, 3)
    kept = {kind: sum(each["runs"] for each in rows) for kind, rows in said["kept"].items()}
    assert kept == {"normal": 4 * 8, "reduce": 4 * 8}
    assert overlap(cells[0], cells[1]) == 1


def test_cells_that_were_found_twice_and_searches_that_collapsed(small: Path) -> None:
    report = load(small)
    first = report["cells"][0]
    assert first == {"digest": digest(found(0, 0)), "runs": [["first", 0], ["first", 1]]}
    assert sum(len(cell["runs"]) for cell in report["cells"]) == 8
    flagged = [(c["method"], c["seed"]) for c in report["collapse"]["cells"]]
    assert ("second", 3) in flagged
    for method, seed in {("first", 0), ("first", 2), ("second", 0), ("second", 3)}:
        genotype = found(int(method == "second"), seed)
        worst = max(genotype.count("skip_connect", kind) for kind in genotype.cells)
        assert ((method, seed) in flagged) == (worst > 4)


@pytest.mark.parametrize(
    ("operations", "wanted"),
    [
        ("skip_connect skip_connect skip_connect none none none", True),  # 3 of 3
        ("skip_connect skip_connect nor_conv_3x3 nor_conv_3x3 none none", False),  # half
        ("skip_connect skip_connect nor_conv_3x3 none none none", True),
        ("none none none none none none", False),
    ],
)
def test_more_than_half_of_the_kept_edges(operations: str, wanted: bool) -> None:
    a, b, c, d, e, f = operations.split()
    genotype = from_string(f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|")
    results = Results(plan(("m",), 1), (Run("m", 0, genotype=genotype),))
    assert bool(collapses(results)) == wanted


def test_a_row_a_run_in_csv_and_json(small: Path) -> None:
    report = load(small)
    with (small / "report.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted = [(method, str(seed)) for method in FINALS for seed in range(4)]
    assert [(row["method"], row["seed"]) for row in rows] == wanted
    assert [(run["method"], str(run["seed"])) for run in report["results"]] == wanted
    for row, run in zip(rows, report["results"], strict=True):
        assert float(row["final"]) == run["final"] == FINALS[run["method"]][run["seed"]]
        assert row["state"] == "done"
        assert float(row["cost_search_seconds"]) == run["cost"]["search_seconds"]
        cpu = run["cost"]["search_cpu_seconds"]
        assert float(row["cost_search_cpu_seconds"]) == cpu == 2 * run["cost"]["search_seconds"]
    assert sum(run["cost"]["search_seconds"] for run in report["results"]) > 0


def test_retrainings_of_one_cell_are_one_run(tmp_path: Path) -> None:
    study = plan(("only",), 1, retrain_seeds=3)
    write_study(tmp_path, study)
    genotype = random_genotype(DARTS, 0)
    write_search(tmp_path, "only", 0, genotype)
    write_finals(tmp_path, study, genotype, 0, [0.5, 0.6, 0.9])
    write_report(tmp_path)
    (run,) = load(tmp_path)["results"]
    assert run["final"] == pytest.approx(2 / 3)
    assert load(tmp_path)["statistics"]["only"]["n"] == 1


def test_a_table_says_how_a_cell_stands(tmp_path: Path) -> None:
    chain = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|{}~0|none~1|nor_conv_3x3~2|"
    names = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    accuracies = {chain.format(name): 90.0 + i for i, name in enumerate(names)}
    table_study(tmp_path / "study", tmp_path / "table.csv", accuracies)
    write_report(tmp_path / "study")
    report = load(tmp_path / "study")
    assert report["best"] == 0.94
    for run in report["results"]:
        better = sum(accuracy / 100 > run["final"] for accuracy in accuracies.values())
        assert run["standing"]["rank"] == 1 + better
        assert run["standing"]["regret"] == pytest.approx(0.94 - run["final"])
        assert run["standing"]["percentile"] == pytest.approx(100 * (4 - better) / 4)
    text = words(tmp_path / "study")
    regret = fmean(r["standing"]["regret"] for r in report["results"] if r["method"] == "gaea")
    assert f"Mean regret against the best cell, in points: gaea {100 * regret:.2f};" in text
    assert str(tmp_path) not in (tmp_path / "study/report.html").read_text(encoding="utf-8")
