"""Figures of the study of inverse problems that its report does not print: the page has them."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from nas_lightning.errors import UsageError

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "studies" / "inverse_problems.md").read_text(encoding="utf-8")
KEYS = ("method", "seed", "cell", "final", "finals", "one_shot")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `PYTHONPATH=docs/examples` does."""
    monkeypatch.syspath_prepend(str(DOCS / "examples"))
    return importlib.import_module("against_baseline")


def written(folder: Path, *runs: tuple[Any, ...], metric: str = "psnr") -> str:
    path = folder / "report.json"
    results = [dict(zip(KEYS, run, strict=True)) for run in runs]
    content = {"format": "nas-lightning report", "metric": {"name": metric}, "results": results}
    path.write_text(json.dumps(content))
    return str(path)


def test_the_table(example: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = written(
        tmp_path,
        ("a", 0, "x", 21.0, [20.9, 21.1], -3.0),
        ("a", 1, "y", 24.0, [24.0, 24.0], 0.5),
        ("a", 2, "y", None, [24.0], None),  # half of it has ended
        ("b", 0, "x", 21.0, [20.9, 21.1], -4.0),  # what a found, and its retrainings
        ("b", 1, "z", 22.0, [21.7, 22.3], -0.1),
        ("random", 0, "u", 9.0, [8.0, 10.0], None),
    )
    example.main(report, "21.5")
    assert capsys.readouterr().out.splitlines() == [
        "                 n  median  above 21.50  one-shot below 0",
        "a                2   22.50            1                 1",
        "b                2   21.50            1                 2",
        "all searches     4   21.50            2                 3",
        "random           1    9.00            0                 –",
        # 0.0, 0.2, 0.6 and 2.0
        "retrainings of one cell differ by 0.40 dB (median of 4 cells; at most 2.00)",
    ]


def test_cells_that_were_retrained_once(
    example: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example.main(written(tmp_path, ("a", 0, "x", 21.0, [21.0], 1.0)), "20")
    assert capsys.readouterr().out.splitlines()[-1] == "each cell was retrained once"


def test_a_report_of_another_metric_is_refused(example: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="whose metric is psnr"):
        example.main(written(tmp_path, metric="accuracy"), "20")


@pytest.mark.parametrize("problem", ["deblur", "superres"])
def test_the_page_has_what_it_prints(
    example: Any, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = rf"python docs/examples/against_baseline\.py (docs/studies/signal_{problem}\S+) (\S+)"
    (call,) = re.findall(command, PAGE)
    example.main(str(DOCS.parent / call[0]), call[1])
    _, *rows, retrained = capsys.readouterr().out.splitlines()
    said = {row[:14].strip(): row[14:].split() for row in rows}
    heading = f"above Tikhonov ({call[1]}) |"
    shown = PAGE[PAGE.index(heading) :].split("\n\n")[0].splitlines()[2:]
    assert len(shown) == len(said) - 1
    for line in shown:
        name, n, *_, middle, _, above = line.strip("| ").split(" | ")
        assert [n, middle, above.removesuffix(f" of {n}")] == said[name][:3], line
    words = re.split(r"\n\* ", PAGE)
    (extends,) = (each for each in words if each.startswith("**DARTS can be extended"))
    assert f"{said['all searches'][1]} dB" in extends
    if problem == "deblur":
        below = sum(int(said[name][3]) for name in ("darts", "amended"))
        assert f"on deblurring, {below} have a one-shot PSNR below 0 dB" in PAGE
        found = re.search(r"differ by (\S+) dB \(median of \d+ cells; at most (\S+)\)", retrained)
        assert found is not None
        assert "differ by {} dB (median; at most {})".format(*found.groups()) in PAGE
