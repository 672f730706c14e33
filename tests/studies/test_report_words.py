"""Words and formatted numbers of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from nas_lightning.architecture import random_genotype
from nas_lightning.studies.correlation import Correlation
from nas_lightning.studies.plan import write_study
from nas_lightning.studies.report import write_report
from nas_lightning.studies.report.analysis import analyse
from nas_lightning.studies.report.numbers import Scale, probability
from nas_lightning.studies.report.proxies import strength
from nas_lightning.studies.report.sections import comparisons, summary
from nas_lightning.studies.results import read_results
from tests.studies.made_up import draw_random, history, plan, write_finals, write_search
from tests.studies.reports import DARTS, load, words


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
    assert f"after Holm): {pair['pairs_needed']} pairs would be needed." in words(small)


def test_of_very_many_comparisons_those_that_readers_look_for_are_listed(tmp_path: Path) -> None:
    names = [f"method_{index}" for index in range(9)]
    study = plan(names, 6, random=6)
    write_study(tmp_path, study)
    for number in range(6):
        genotype = draw_random(tmp_path, DARTS, number)
        write_finals(tmp_path, study, genotype, number, [0.9 + 0.01 * (number % 3)])
    for index, method in enumerate(names):
        for seed in range(6):
            genotype = random_genotype(DARTS, 10 * index + seed)
            write_search(tmp_path, method, seed, genotype)
            write_finals(tmp_path, study, genotype, seed, [0.9 + 0.01 * (seed % 3)])
    found = analyse(tmp_path, read_results(tmp_path))
    section = comparisons.section(found)
    assert [row[:2] for row in section.tables[0].rows] == [(name, "random") for name in names]
    assert "Of 45 comparisons the table lists the 9 with random cells" in section.words[-1]
    assert len(found.contrasts) == 45


def many(folder: Path, methods: int, values: Sequence[float]) -> Path:
    """A study of many methods, one search each, with given final metrics."""
    study = plan([f"method-{index}" for index in range(methods)], 1)
    write_study(folder, study)
    for index, method in enumerate(f"method-{index}" for index in range(methods)):
        genotype = random_genotype(DARTS, index)
        write_search(folder, method, 0, genotype, history=history(DARTS, index, 2, "skip_connect"))
        write_finals(folder, study, genotype, 0, [values[index % len(values)]])
    return folder


def test_a_report_of_very_many_methods_names_and_draws_less(tmp_path: Path) -> None:
    write_report(many(tmp_path, 13, [0.9, 0.92, 0.91]))
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert page.startswith("# Study: 13 methods, 1 seed\n")
    assert page.count("The pictures are left out, since there are 13 methods.") == 3
    medians = "from the best to the worst: method-1 92.00; method-4 92.00;"
    assert medians in " ".join(page.split())
    drawn = {path.name for path in (tmp_path / "report").glob("*.svg")}
    assert not [name for name in drawn if name.startswith(("weights", "skips", "edges"))]
    assert "distribution.svg" in drawn


def test_runs_that_are_far_off_are_written_at_the_edge(tmp_path: Path) -> None:
    write_report(many(tmp_path, 9, [0.9, 0.92, 0.91, 0.1, 0.93]))
    drawn = (tmp_path / "report/distribution.svg").read_text(encoding="utf-8")
    assert drawn.count("◂ 10.00") == 2  # methods 3 and 8
    assert "▸" not in drawn
    write_report(many(tmp_path / "near", 9, [0.9, 0.92, 0.91, 0.89, 0.93]))
    assert "◂" not in (tmp_path / "near/report/distribution.svg").read_text(encoding="utf-8")


def test_a_note_on_several_comparisons_is_printed_once(tmp_path: Path) -> None:
    study = plan(("a", "b", "c"), 3)
    write_study(tmp_path, study)
    for index, method in enumerate("abc"):
        for seed in range(3):
            genotype = random_genotype(DARTS, 10 * index + seed)
            write_search(tmp_path, method, seed, genotype)
            write_finals(tmp_path, study, genotype, seed, [0.9 + 0.01 * index * seed])
    section = comparisons.section(analyse(tmp_path, read_results(tmp_path)))
    assert section.tables[0].note.count("with 3 pairs p cannot be below 0.25") == 1
    assert section.tables[0].note.startswith("All: ")


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
