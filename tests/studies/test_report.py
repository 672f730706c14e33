"""The files of a report and the verb that makes them, on studies that never ran."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from nas_lightning.architecture import random_genotype
from nas_lightning.cli import main
from nas_lightning.studies.plan import digest, write_study
from nas_lightning.studies.report import write_report
from nas_lightning.studies.results import write_failure
from tests.studies.made_up import history, large_study, plan, write_finals, write_search
from tests.studies.reports import DARTS, FINALS, Page, load

HOSTILE = "<script>alert('x')</script> | `a` & [b](c) $x$"
FILES = ("report.html", "report.md", "report.json", "report.csv")


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
