"""Curves of searches in a report: operation weights, entropy, skips."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_lightning.architecture import random_genotype
from nas_lightning.spaces import get_space
from nas_lightning.studies.plan import write_study
from nas_lightning.studies.report import write_report
from nas_lightning.studies.report.trajectories import (
    LAMBDA,
    final_lambda,
    mean_curve,
    operation_weights,
)
from nas_lightning.studies.results import Run, read_results
from tests.studies.made_up import plan, write_finals, write_search
from tests.studies.reports import Page, load, words


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
    assert list(curves["op0"].epochs) == [1, 2]
    assert curves["op0"].values[1] == pytest.approx(np.mean(first))
    assert curves["op1"].values[1] == pytest.approx(np.mean(first))


def test_the_history_is_read_from_the_logs(small: Path) -> None:
    run = read_results(small).runs[0]
    assert [entry["epoch"] for entry in run.history] == [0, 1, 2]
    text = (small / "report/entropy_normal_cell.svg").read_text(encoding="utf-8")
    assert "normal cell" in text
    assert len(list((small / "report").glob("weights_*.svg"))) == 4
    assert len(list((small / "report").glob("skips_*.svg"))) == 4
    assert len(list((small / "report").glob("edges_*.svg"))) == 6


def test_cells_that_are_all_searched_apart(tmp_path: Path) -> None:
    """With many kinds of cells α is not logged, and no kind has its own picture."""
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
    assert "searches with more than four kinds of cells do not log it" in text
    assert "The lines are means over the 6 kinds of cells." in text
    assert "The maps are left out, since there are 6 kinds of cells." in text
    pictures = sorted(path.stem for path in (tmp_path / "report").iterdir())
    assert pictures == ["distribution", "entropy_all_cells", "skips_0_all_cells"]
    (run,) = read_results(tmp_path).runs
    entropy = mean_curve(run, [f"search/entropy_{kind}" for kind in space.kinds])
    assert entropy is not None
    assert list(entropy.values) == [3.5, 3.5, 3.5]


def test_lambda_of_the_last_epoch_that_measured_it(tmp_path: Path) -> None:
    """A selection at the end takes no architecture steps; an earlier release measured nothing."""
    study = plan(("new", "mixed", "old"), 2)
    write_study(tmp_path, study)
    logged: dict[tuple[str, int], list[float | None]] = {
        ("new", 0): [0.1, 0.25, None],
        ("new", 1): [0.0, 0.5, 0.75],
        ("mixed", 0): [-0.5],
        ("mixed", 1): [0.5, math.nan],
    }
    for method in ("new", "mixed", "old"):
        for seed in range(2):
            values = logged.get((method, seed), [None])
            rows = [
                {"epoch": float(i), "step": float(i), **({} if v is None else {LAMBDA: v})}
                for i, v in enumerate(values)
            ]
            genotype = random_genotype(get_space("darts"), seed)
            write_search(tmp_path, method, seed, genotype, history=rows)
    write_report(tmp_path)
    report = load(tmp_path)
    found = {(run["method"], run["seed"]): run["lambda"] for run in report["results"]}
    wanted = {("new", 0): 0.25, ("new", 1): 0.75, ("mixed", 0): -0.5}
    assert found == {**dict.fromkeys(found), **wanted}
    said = report["lambda"]
    assert {name: (s["n"], s["mean"]) for name, s in said.items()} == {
        "new": (2, 0.5),
        "mixed": (1, -0.5),
        "old": (0, None),
    }
    shown = [row[:3] for row in Page(tmp_path / "report.html").rows]
    head = shown.index(["method", "searches", "mean Λ"])
    assert shown[head + 1 :][:3] == [
        ["new", "2", "0.50"],
        ["mixed", "1", "−0.50"],
        ["old", "0", "–"],
    ]
    with (tmp_path / "report.csv").open(newline="", encoding="utf-8") as file:
        assert [row["lambda"] for row in csv.DictReader(file)] == [
            "0.25",
            "0.75",
            "-0.5",
            "",
            "",
            "",
        ]


def test_a_study_without_lambda_says_so(small: Path) -> None:
    assert all(final_lambda(run) is None for run in read_results(small).runs)
    assert "No search has measured Λ." in words(small)
