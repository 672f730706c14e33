"""A study of made-up numbers that has a report, and how its files are read."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.spaces import get_space
from nas_lightning.studies.plan import write_study
from tests.studies.made_up import draw_random, history, plan, skipping, write_finals, write_search

DARTS = get_space("darts")
FINALS = {
    "first": [0.91, 0.93, 0.95, 0.94],
    "second": [0.96, 0.97, 0.972, 0.99],
    "random": [0.90, 0.92, 0.93, 0.94],
}
ONE_SHOT = {"first": [0.1, 0.3, 0.2, 0.4], "second": [0.5, 0.6, 0.55, 0.4]}
SCORES = [0.2, 0.1, 0.3, 0.4]


def small_study(folder: Path, *, epochs: int = 3) -> None:
    """Two methods, four seeds, four random cells, one retraining each."""
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


def words(folder: Path) -> str:
    """The text of the page in one line, with plain spaces."""
    return " ".join(Page(folder / "report.html").text.split())
