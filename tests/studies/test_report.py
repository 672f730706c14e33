"""The report of a study, on studies that never ran."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nas_lightning.cli import main
from nas_lightning.errors import UsageError
from nas_lightning.genotype import Genotype, from_string, random_genotype
from nas_lightning.spaces import get_space
from nas_lightning.studies.comparison import compare, holm
from nas_lightning.studies.correlation import Correlation
from nas_lightning.studies.plan import digest, search_dir, write_study
from nas_lightning.studies.report import write_report
from nas_lightning.studies.report.agreement import overlap
from nas_lightning.studies.report.analysis import analyse
from nas_lightning.studies.report.collapse import collapses
from nas_lightning.studies.report.numbers import Scale, probability
from nas_lightning.studies.report.proxies import strength
from nas_lightning.studies.report.sections import summary
from nas_lightning.studies.report.trajectories import mean_curve, operation_weights
from nas_lightning.studies.results import Results, Run, read_results, write_failure
from tests.studies.made_up import (
    draw_random,
    history,
    large_study,
    plan,
    skipping,
    table_study,
    write_finals,
    write_search,
)

DARTS = get_space("darts")
HOSTILE = "<script>alert('x')</script> | `a` & [b](c) $x$"
FILES = ("report.html", "report.md", "report.json", "report.csv")
FINALS = {
    "first": [0.91, 0.93, 0.95, 0.94],
    "second": [0.96, 0.97, 0.972, 0.99],
    "random": [0.90, 0.92, 0.93, 0.94],
}
ONE_SHOT = {"first": [0.1, 0.3, 0.2, 0.4], "second": [0.5, 0.6, 0.55, 0.4]}
SCORES = [0.2, 0.1, 0.3, 0.4]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods, four seeds, four random cells, one retraining each; with its report."""
    folder = tmp_path_factory.mktemp("small")
    small_study(folder)
    write_report(folder)
    return folder


def small_study(folder: Path, *, epochs: int = 3) -> None:
    study = plan(("first", "second"), 4, random=4)
    write_study(folder, study)
    for number, final in enumerate(FINALS["random"]):
        write_finals(folder, study, draw_random(folder, DARTS, number), number, [final])
    for index, method in enumerate(ONE_SHOT):
        for seed, (one_shot, final) in enumerate(
            zip(ONE_SHOT[method], FINALS[method], strict=True)
        ):
            genotype = found(index, seed)
            scores = dict(enumerate(SCORES)) if method == "first" and seed < 2 else {}
            logged = history(DARTS, seed, epochs, "skip_connect", simplex=index == 1)
            write_search(
                folder, method, seed, genotype, one_shot=one_shot, scores=scores, history=logged
            )
            write_finals(folder, study, genotype, seed, [final])


def found(index: int, seed: int) -> Genotype:
    """Seeds 0 and 1 of the first method find the same cell; seed 3 of the second collapses."""
    genotype = random_genotype(DARTS, 100 * index + (max(seed, 1) if index == 0 else seed))
    return skipping(genotype) if (index, seed) == (1, 3) else genotype


def load(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return document


class Page(HTMLParser):
    """Tags, attributes and text of a page; raises where tags are not closed in order."""

    VOID = ("meta", "br")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += " ".join(data.split())


def wanted_tau(x: list[float], y: list[float]) -> float:
    """Kendall's τ by its definition: no ties."""
    pairs = list(combinations(zip(x, y, strict=True), 2))
    return fmean(math.copysign(1, (a[0] - b[0]) * (a[1] - b[1])) for a, b in pairs)


def words(folder: Path) -> str:
    """The text of the page in one line, with plain spaces."""
    return " ".join(Page(folder / "report.html").text.split())


# -- numbers ---------------------------------------------------------------------------------------


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


# -- the page --------------------------------------------------------------------------------------


def test_the_page_needs_nothing_else(small: Path) -> None:
    text = (small / "report.html").read_text(encoding="utf-8")
    page = Page(small / "report.html")
    assert "http:" not in text
    assert "https:" not in text
    assert not {"script", "link", "img", "iframe"} & page.tags
    assert not [value for _, name, value in page.attributes if name == "src"]
    links = [v for tag, name, v in page.attributes if (tag, name) == ("a", "href")]
    assert all((small / link).is_dir() for link in links if not link.startswith("#"))
    assert sum("searches/" in link for link in links) == 8
    names = [value for _, name, value in page.attributes if name == "id"]
    assert len(names) == len(set(names))
    inner = [v[1:] for tag, name, v in page.attributes if name == "href" and v.startswith("#")]
    assert set(inner) <= set(names)
    assert "@media (prefers-color-scheme: dark)" in text


def test_every_run_is_in_the_tables_of_page_and_markdown(small: Path) -> None:
    page = [row for row in Page(small / "report.html").rows if row]
    runs = [row for row in page if len(row) == 11 and row[1] == "done"]
    assert len(runs) == 12
    for row in runs:
        assert row[6] == f"{100 * FINALS[row[0]][int(row[3])]:.2f}"
    text = (small / "report.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == len(page) + text.count("\n| ---")
    shown = [part.split(")")[0] for part in text.split("](report/")[1:]]
    assert shown
    assert set(shown) == {path.name for path in (small / "report").iterdir()}


def test_a_report_made_twice_is_the_same(small: Path, tmp_path: Path) -> None:
    """Also elsewhere, and where an earlier report had other pictures."""
    for name in ("searches", "retrains", "random", "study.json"):
        source = small / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    (tmp_path / "report").mkdir()
    (tmp_path / "report/old.svg").write_text("<svg/>")
    write_report(tmp_path)
    pictures = sorted(path.name for path in (small / "report").iterdir())
    assert pictures == sorted(path.name for path in (tmp_path / "report").iterdir())
    for name in (*FILES, *(f"report/{name}" for name in pictures)):
        assert (tmp_path / name).read_bytes() == (small / name).read_bytes(), name


def test_names_are_text_and_not_markup(tmp_path: Path) -> None:
    study = plan((HOSTILE.replace("/", "_"),), 1)
    (method,) = study.methods
    write_study(tmp_path, study)
    genotype = random_genotype(DARTS, 0)
    write_search(tmp_path, method.name, 0, genotype, history=history(DARTS, 0, 2, "none"))
    write_finals(tmp_path, study, genotype, 0, [0.9])
    write_failure(tmp_path / "retrains" / digest(genotype) / "seed_0", "<img src=x onerror=y>")
    page = Page(write_report(tmp_path).page)
    assert not {"script", "img"} & page.tags
    assert any(method.name in entry for row in page.rows for entry in row)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script" not in text.replace(r"\<", "")
    assert "<img" not in text.replace(r"\<", "")


def test_a_report_to_show_has_no_links_to_the_runs(small: Path, tmp_path: Path) -> None:
    page = write_report(small, tmp_path / "shown").page
    assert page == tmp_path / "shown" / "report.html"
    for text, links in (
        (page.read_text(encoding="utf-8"), r'href="(?!#)'),
        (page.with_suffix(".md").read_text(encoding="utf-8"), r"(?<!!)\[[^]]*\]\("),
    ):
        assert not re.search(links, text)
    before = (small / "report.json").read_bytes()
    assert (tmp_path / "shown" / "report.json").read_bytes() == before
    assert list((tmp_path / "shown" / "report").glob("*.svg"))


# -- what is missing -------------------------------------------------------------------------------


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
    assert "the one-shot metric reflects the final one is undefined" in text
    assert "agreement needs two cells" in text
    assert "No randomly drawn cells stand beside them." in text
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


# -- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("higher", [True, False])
def test_the_better_method_is_the_subject(tmp_path: Path, higher: bool) -> None:
    study = plan(("low", "high"), 8, metric="loss", higher_is_better=higher)
    write_study(tmp_path, study)
    for index, method in enumerate(("low", "high")):
        for seed in range(8):
            genotype = random_genotype(DARTS, 10 * index + seed)
            write_search(tmp_path, method, seed, genotype)
            write_finals(tmp_path, study, genotype, seed, [1.0 + index + 0.01 * (seed % 3)])
    text = " ".join(summary.section(analyse(tmp_path, read_results(tmp_path))).words)
    better, worse = ("high", "low") if higher else ("low", "high")
    assert f"{better} is better than {worse} by 1.000 on average" in text


def test_too_few_runs_are_told_how_many_would_do(small: Path) -> None:
    (pair, *_) = [c for c in load(small)["comparisons"] if c["second"] == "random"]
    size = f"{100 * abs(pair['difference']):.2f} points"
    wanted = f"4 pairs of runs cannot tell first and the random cells apart (difference {size}, p"
    assert wanted in words(small)
    assert pair["pairs_needed"] == max(pair["runs_needed"], 6)  # 2 / 2^5 is above 0.05
    assert f"after Holm): {pair['pairs_needed']} would be needed." in words(small)


@pytest.mark.parametrize(
    ("value", "low", "high", "wanted"),
    [
        (0.4, -0.1, 0.7, "does not"),
        (0.0, -0.3, 0.3, "does not"),
        (0.4, 0.1, 0.6, "weakly"),
        (0.5, 0.1, 0.8, "clearly"),
        (-0.4, -0.6, -0.1, "against"),
        (None, None, None, "undefined"),
        (1.0, None, None, "undefined"),
    ],
)
def test_strength_of_a_proxy(
    value: float | None, low: float | None, high: float | None, wanted: str
) -> None:
    assert strength(Correlation("Kendall τ-b", value, low, high, None, 9)) == wanted


@pytest.mark.parametrize(
    ("metric", "value", "shown", "signed"),
    [
        ("accuracy", 0.97236, "97.24", "+97.24"),
        ("top5_accuracy", -0.001, "−0.10", "−0.10"),
        ("accuracy", -1e-9, "0.00", "0.00"),
        ("psnr", 32.104, "32.10", "+32.10"),
        ("perplexity", 61.23456, "61.23", "+61.23"),
        ("loss", 0.0123456, "0.01235", "+0.01235"),
        ("loss", 12345.6, "12,346", "+12,346"),
        ("loss", None, "–", "–"),
    ],
)
def test_how_values_are_written(metric: str, value: float | None, shown: str, signed: str) -> None:
    assert (Scale(metric).show(value), Scale(metric).signed(value)) == (shown, signed)


@pytest.mark.parametrize(
    ("metric", "label"),
    [("accuracy", "accuracy, %"), ("top5_accuracy", "top5 accuracy, %"), ("psnr", "PSNR, dB")],
)
def test_how_axes_are_labelled(metric: str, label: str) -> None:
    assert Scale(metric).label == label


def test_a_small_p_is_not_zero() -> None:
    assert [probability(p) for p in (0.0004, 0.001, 0.25, None)] == [
        "< 0.001",
        "0.001",
        "0.250",
        "–",
    ]


# -- operation weights -----------------------------------------------------------------------------


def row(alpha: list[float], epoch: int) -> dict[str, float]:
    values = {f"alpha/cell/0-1/op{i}": value for i, value in enumerate(alpha)}
    values |= {f"alpha/cell/0-2/op{i}": value for i, value in enumerate(alpha[::-1])}
    return {**values, "epoch": float(epoch)}


@pytest.mark.parametrize(
    ("alpha", "ops", "first"),
    [
        ([0.2, 0.8], None, [0.2, 0.8]),  # on the simplex: they are the weights
        ([1.0, 2.0], None, np.exp([1, 2]) / np.exp([1, 2]).sum()),
        ([1.0, 2.0], [[0.4, 0.6]], np.exp([1, 2]) / np.exp([1, 2]).sum()),
        ([1.0, 2.0], [[0.7, 0.9]], 1 / (1 + np.exp([-1, -2]))),  # each of its own: sigmoids
    ],
)
def test_alpha_as_weights(
    alpha: list[float], ops: list[list[float]] | None, first: list[float]
) -> None:
    genotype = random_genotype(get_space("nas_bench_201"), 0)
    mixing = {"cell": {"ops": ops}} if ops else {}
    logged = (row([0.5, 0.5], 0) if sum(alpha) == 1 else row([0.0, 0.0], 0), row(alpha, 1))
    run = Run("m", 0, genotype=replace(genotype, mixing=mixing), history=logged)
    curves = operation_weights(run, "cell")
    assert list(curves["op0"].epochs) == [0, 1]
    assert curves["op0"].values[1] == pytest.approx(np.mean(first))
    assert curves["op1"].values[1] == pytest.approx(np.mean(first))


# -- around it -------------------------------------------------------------------------------------


def test_the_history_is_read_from_the_logs(small: Path) -> None:
    run = read_results(small).runs[0]
    assert [entry["epoch"] for entry in run.history] == [0, 1, 2]
    text = (small / "report/entropy_normal_cell.svg").read_text(encoding="utf-8")
    assert "normal cell" in text
    assert len(list((small / "report").glob("weights_*.svg"))) == 4
    assert len(list((small / "report").glob("skips_*.svg"))) == 4
    assert len(list((small / "report").glob("edges_*.svg"))) == 6


def test_cells_that_are_all_searched_apart(tmp_path: Path) -> None:
    """Of so many kinds of cells α is not logged, and no kind has a picture of its own."""
    space = get_space("darts_individual_6")
    study = plan(("apart",), 1)
    write_study(tmp_path, study)
    genotype = random_genotype(space, 0)
    logged = [
        {
            "epoch": float(epoch),
            "step": float(epoch),
            "search/skips": 10.0 + epoch,
            **{f"search/skips_{kind}": 2.0 for kind in space.kinds},
            **{f"search/entropy_{kind}": 1.0 + i for i, kind in enumerate(space.kinds)},
        }
        for epoch in range(3)
    ]
    write_search(tmp_path, "apart", 0, genotype, history=logged)
    write_finals(tmp_path, study, genotype, 0, [0.9])
    write_report(tmp_path)
    text = words(tmp_path)
    assert "searches of more than four kinds of cells do not log it" in text
    assert "A mean over the 6 kinds of cells." in text
    assert "With 6 kinds of cells the maps are left out." in text
    pictures = sorted(path.stem for path in (tmp_path / "report").iterdir())
    assert pictures == ["distribution", "entropy_all_cells", "skips_0_all_cells"]
    (run,) = read_results(tmp_path).runs
    entropy = mean_curve(run, [f"search/entropy_{kind}" for kind in space.kinds])
    assert entropy is not None
    assert list(entropy.values) == [3.5, 3.5, 3.5]


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path, plan(("a",), 1))
    assert main(["report", str(tmp_path)]) == 0
    assert str(tmp_path / "report.html") in capsys.readouterr().out
    assert all((tmp_path / name).is_file() for name in FILES)
    assert main(["report", str(tmp_path / "none")]) == 2
    assert "holds no study" in capsys.readouterr().err


@pytest.mark.slow
def test_a_large_study(tmp_path: Path) -> None:
    large_study(tmp_path, epochs=5)
    page = Page(write_report(tmp_path).page)
    assert len([entry for entry in page.rows if len(entry) == 11 and entry[1] == "done"]) == 40
    assert len(load(tmp_path)["comparisons"]) == 6
