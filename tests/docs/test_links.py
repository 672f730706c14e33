"""Links and configurations that the documentation names exist."""

import re
from pathlib import Path

import pytest

from nas_lightning.runs.configs import shipped

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a page."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_point_at_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_named_configurations_exist(page: Path) -> None:
    for config in re.findall(r"nas fit --config ([^\s`]+)", page.read_text(encoding="utf-8")):
        written_by_a_run = config.startswith("runs/") and config.endswith("/config.yaml")
        known = config in shipped() or f"{config}.yaml" in shipped()
        assert known or written_by_a_run or (ROOT / config).is_file(), f"{name(page)}: {config}"


def test_every_page_is_on_the_map() -> None:
    folder = ROOT / "docs"
    linked = re.findall(r"\]\(([^)\s#]+)", (folder / "index.md").read_text(encoding="utf-8"))
    pages = {str(page.relative_to(folder)) for page in folder.rglob("*.md")} - {"index.md"}
    written = {page for page in pages if page.endswith("/report.md")}  # named by a study's page
    assert pages - written <= set(linked)
