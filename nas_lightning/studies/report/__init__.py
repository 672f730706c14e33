"""The report of a study: an HTML page, the same in Markdown, and the numbers as JSON and CSV."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from nas_lightning.files import write_text
from nas_lightning.studies.report.analysis import Analysis, analyse
from nas_lightning.studies.report.export import to_csv, to_json
from nas_lightning.studies.report.html import to_html
from nas_lightning.studies.report.markdown import PICTURES, to_markdown
from nas_lightning.studies.report.numbers import count, listed
from nas_lightning.studies.report.page import Section
from nas_lightning.studies.report.plotting import as_file
from nas_lightning.studies.report.sections import (
    cells,
    comparisons,
    cost,
    distribution,
    edges,
    entropy,
    front,
    harmony,
    plan,
    prediction,
    proxies,
    ranking,
    runs,
    skips,
    standing,
    summary,
    weights,
)
from nas_lightning.studies.results import read_results

SECTIONS = (
    plan,
    summary,
    prediction,
    distribution,
    comparisons,
    front,
    proxies,
    ranking,
    entropy,
    weights,
    skips,
    harmony,
    cells,
    edges,
    cost,
    standing,
    runs,
)
"""The sections in the order of the report."""
BY_METHOD = (weights, skips, edges)
"""The sections with a picture for each method."""
NAMED = 8
"""Most methods that the title names."""
DRAWN = 12
"""Most methods of which `BY_METHOD` has pictures; those of 24 methods take a megabyte."""


class Report(NamedTuple):
    """A report that was written.

    Attributes:
        page: Path of the HTML page.
        summary: Paragraphs of its summary.
    """

    page: Path
    summary: tuple[str, ...]


def write_report(folder: Path, to: Path | None = None) -> Report:
    """Write report.html, report.md, report.json and report.csv of a study.

    The HTML page contains its pictures; those of the Markdown page are files in the folder
    `report`. Reports of the same results are equal byte for byte. The report of an unfinished study
    says what is missing.

    Args:
        folder: Folder of the study, into which the report is written.
        to: Another folder to write into, in order to show the report without the runs. The report
            then has no links to run directories.

    Raises:
        UsageError: The folder holds no study.
    """
    target = to or folder
    analysis = analyse(target, read_results(folder))
    every = [_section(analysis, module) for module in SECTIONS]
    sections = [one for one in every if one.words or one.pictures or one.tables]
    title = _title(analysis)
    _write_pictures(target / PICTURES, sections)
    write_text(target / "report.json", to_json(analysis))
    write_text(target / "report.csv", to_csv(analysis))
    write_text(target / "report.md", to_markdown(title, sections))
    page = target / "report.html"
    write_text(page, to_html(title, sections))
    return Report(page, every[SECTIONS.index(summary)].words)


def _section(a: Analysis, module: Any) -> Section:
    """Return a section, without the pictures of very many methods."""
    section: Section = module.section(a)
    if module not in BY_METHOD or len(a.searches) <= DRAWN or not section.pictures:
        return section
    why = f"The pictures are left out, since there are {len(a.searches)} methods."
    return replace(section, pictures=(), words=(*section.words, why))


def _title(a: Analysis) -> str:
    few = len(a.searches) <= NAMED
    names = listed(a.searches) if few else count(len(a.searches), "method")
    return f"Study: {names or 'random cells'}, {count(a.results.study.seeds, 'seed')}"


def _write_pictures(folder: Path, sections: list[Section]) -> None:
    """Write the pictures and remove those that only a previous report had."""
    pictures = {f"{p.name}.svg": p.svg for section in sections for p in section.pictures}
    for name, svg in pictures.items():
        write_text(folder / name, as_file(svg))
    for path in folder.glob("*.svg"):
        if path.name not in pictures:
            path.unlink()
